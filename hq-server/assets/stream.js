// Says whether the stream is alive. Stands before what opens it: whoever listens later may have
// missed the opening, and an idle company sends nothing more.

const pill = document.getElementById("stream");
const say = (alive) => {
  pill.textContent = alive ? pill.dataset.live : pill.dataset.lost;
  pill.classList.toggle("alive", alive);
  pill.classList.toggle("lost", !alive);
};
document.addEventListener("htmx:sse:after:connection", () => say(true));
document.addEventListener("htmx:sse:after:message", () => say(true));
for (const name of ["htmx:sse:error", "htmx:sse:before:connection"]) {
  document.addEventListener(name, (event) => {
    if ((event.detail?.connection?.attempt ?? 1) > 0) say(false);
  });
}
