document.querySelectorAll(".copy button").forEach((button) => {
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent).then(() => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });
});
const entries = [...document.querySelectorAll('nav a[href^="#"]')];
const sections = entries.map((entry) => document.querySelector(entry.getAttribute("href")));
const mark = () => {
  const current = sections.reduce((found, section, i) => (section.getBoundingClientRect().top < 160 ? i : found), 0);
  entries.forEach((entry, i) => {
    entry.classList.toggle("here", i === current);
    if (i === current) entry.setAttribute("aria-current", "true"); else entry.removeAttribute("aria-current");
  });
};
document.addEventListener("scroll", mark, { passive: true });
mark();
