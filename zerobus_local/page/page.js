// Refreshes the live part once a second, unless the user paused it, the page is hidden, or the live part has the focus.
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
    const unfolded = [...live.querySelectorAll("details[open]")].map((details) => details.dataset.key);
    const scrolled = [...live.querySelectorAll(".scroll")].map((part) => part.scrollLeft);
    try {
      const answer = await fetch("/local/page");
      if (answer.ok) {
        live.innerHTML = await answer.text();
        for (const details of live.querySelectorAll("details"))
          if (unfolded.includes(details.dataset.key)) details.open = true;
        const parts = [...live.querySelectorAll(".scroll")];
        if (parts.length === scrolled.length) parts.forEach((part, index) => { part.scrollLeft = scrolled[index]; });
      }
      document.body.classList.toggle("gone", !answer.ok);
    } catch {
      document.body.classList.add("gone");
    }
  }
  setTimeout(refresh, 1000);
};
setTimeout(refresh, 1000);

// The form has the fields of all actions; fields that the chosen action does not take are hidden.
const action = document.querySelector("form.fault select[name=action]");
const showFields = () => {
  for (const label of document.querySelectorAll("form.fault label[data-actions]"))
    label.hidden = !label.dataset.actions.split(" ").includes(action.value);
};
action.addEventListener("change", showFields);
showFields();
