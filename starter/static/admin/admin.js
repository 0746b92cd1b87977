// The pages work without this: it only spares polls of hidden windows and adds local times.

document.addEventListener("htmx:config:request", (event) => {
  if (document.hidden) event.preventDefault();
});

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

document.addEventListener("pointerover", ({ target }) => {
  const time = target instanceof Element && target.closest("time[datetime]");
  if (time && !time.title) time.title = local.format(new Date(time.dateTime));
});
