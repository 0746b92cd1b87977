// The pages work without this: it only spares polls of hidden windows, says when what is open no
// longer follows, and adds local times.

document.addEventListener("htmx:config:request", (event) => {
  if (document.hidden) event.preventDefault();
});

// A poll that fails leaves what is shown as it was: say so until one succeeds.
const stale = (says) => {
  const shown = document.getElementById("stale");
  if (shown && shown.textContent !== says) shown.textContent = says;
};
document.addEventListener("htmx:after:request", ({ detail }) => {
  const isRefused = detail.ctx.response.status >= 400;
  stale(isRefused ? "Not up to date: a part of the system is away. Asked again every few seconds." : "");
});
document.addEventListener("htmx:error", () => {
  stale("Not up to date: the API does not answer. Asked again every few seconds.");
});

// The zone of this browser, for whoever wants to see times in it.
const own = document.querySelector('.times [name="zone"]');
if (own) own.value = Intl.DateTimeFormat().resolvedOptions().timeZone;

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

document.addEventListener("pointerover", ({ target }) => {
  const time = target instanceof Element && target.closest("time[datetime]");
  if (time && !time.title) time.title = local.format(new Date(time.dateTime));
});
