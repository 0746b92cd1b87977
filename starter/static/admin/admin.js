// The pages work without this: it only spares polls of hidden windows and adds local times.
// What a form does in parts goes on, whether somebody looks or not.

document.addEventListener("htmx:config:request", (event) => {
  if (document.hidden && event.detail.ctx.request.method === "GET") event.preventDefault();
});

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

document.addEventListener("pointerover", ({ target }) => {
  const time = target instanceof Element && target.closest("time[datetime]");
  if (time && !time.title) time.title = local.format(new Date(time.dateTime));
});
