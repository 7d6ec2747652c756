// Refreshes the live part once a second, unless it is paused, hidden, or the keyboard is in it.
const live = document.getElementById("live");
const pause = document.getElementById("pause");
let paused = false;
pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Resume" : "Pause";
});
const refresh = async () => {
  if (!paused && !document.hidden && !live.contains(document.activeElement)) {
    const unfolded = [...live.querySelectorAll("details[open] summary")].map((summary) => summary.textContent);
    try {
      const answer = await fetch("/local/page");
      if (answer.ok) {
        live.innerHTML = await answer.text();
        for (const summary of live.querySelectorAll("details summary"))
          if (unfolded.includes(summary.textContent)) summary.parentElement.open = true;
      }
      document.body.classList.toggle("gone", !answer.ok);
    } catch {
      document.body.classList.add("gone");
    }
  }
  setTimeout(refresh, 1000);
};
setTimeout(refresh, 1000);
