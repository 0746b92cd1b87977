export function when(at: Date | string, zone: string): string {
  return new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short", timeZone: zone }).format(
    new Date(at),
  );
}
