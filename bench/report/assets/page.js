"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables

  /** Brings in the lines of a table that wait in its template. */
  function complete(table) {
    const waiting = table.querySelector("template");
    if (!waiting) return;
    waiting.replaceWith(waiting.content);
    table.closest(".scroll").nextElementSibling?.remove(); // the button that asked for them
    narrow(table);
  }

  function sort(header) {
    const table = header.closest("table");
    complete(table);
    const column = [...header.parentElement.children].indexOf(header);
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of all("thead th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const keyed = [...table.tBodies].map((body) => {
      const cell = body.rows[0].children[column];
      return [cell?.dataset.sort ?? cell?.textContent.trim() ?? "", body];
    });
    keyed.sort(([x], [y]) => {
      if ((x === "") !== (y === "")) return x === "" ? 1 : -1; // what is missing stays at the end
      const order = !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return ascending ? order : -order;
    });
    table.append(...keyed.map(([, body]) => body));
  }
  for (const button of all(".sortable button.sort")) button.addEventListener("click", () => sort(button.closest("th")));
  addEventListener("beforeprint", () => { for (const table of all("table")) complete(table); });
  for (const button of all("button.all")) {
    button.addEventListener("click", () => {
      const region = button.closest(".rest").previousElementSibling;
      complete(region.querySelector("table"));
      region.focus();
    });
  }

  const filter = document.getElementById("filter");
  const wanted = () => filter?.value.trim().toLowerCase() ?? "";
  function narrow(root) {
    for (const element of all("[data-name]", root)) element.hidden = !element.dataset.name.toLowerCase().includes(wanted());
  }
  filter?.addEventListener("input", () => {
    if (wanted()) for (const table of all("table.sortable")) complete(table);
    narrow(document);
  });

  // Charts

  const views = new Map(); // plot element -> its Vega view
  let picked = "";

  // Colors are the style sheet's variables, so that drawn charts follow the reader's setting, and print as on paper.
  const [ink, soft, faint] = ["var(--ink)", "var(--soft)", "var(--faint)"];
  const axis = { labelColor: soft, titleColor: soft, domainColor: faint, tickColor: faint, gridColor: faint,
    gridOpacity: 0.5, titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 11 };
  const font = getComputedStyle(document.documentElement).getPropertyValue("--sans").trim(); // measured, so by its name
  const config = { background: null, font, axis, view: { stroke: null }, text: { color: ink },
    axisY: { labelColor: ink }, header: { labelColor: ink } };

  /** A plot's chart, no wider than its section. */
  function fitted(plot) {
    const spec = JSON.parse(document.getElementById(plot.dataset.spec).textContent);
    const width = plot.closest("section").clientWidth;
    if (spec.facet) spec.columns = Math.max(1, Math.min(spec.columns, Math.floor(width / 225)));
    else if (spec.width) spec.width = Math.min(spec.width, width);
    return spec;
  }

  async function draw(plot) {
    const { view } = await vegaEmbed(plot, fitted(plot), { renderer: "svg", actions: false, config });
    views.set(plot, view);
    view.addEventListener("click", (event, item) => pick(item?.datum?.method ?? ""));
    if (picked) show(view);
  }

  function show(view) {
    try { view.signal("picked", picked).run(); } catch { /* a chart of a single method has no such signal */ }
  }

  function pick(method) {
    picked = method === picked ? "" : method;
    for (const button of all(".legend button")) button.setAttribute("aria-pressed", String(button.dataset.method === picked));
    for (const view of views.values()) show(view);
  }
  for (const button of all(".legend button")) button.addEventListener("click", () => pick(button.dataset.method));

  if (typeof vegaEmbed !== "undefined") {
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "400px" });
    for (const plot of all(".plot[data-spec]")) near.observe(plot);
  }
})();
