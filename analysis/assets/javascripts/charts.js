// Draws the figures of a page: once they come into view, again when the colour scheme changes, and cleans up behind
// itself when instant navigation leaves the page. Without this script, or where it fails, the still pictures remain.
(() => {
  "use strict";

  if (location.protocol === "file:") return; // a browser lets no script read other files there

  const assets = new URL("../", document.currentScript.src);
  const views = new Map(); // figure -> what vega-embed returned
  const turns = new WeakMap(); // figure -> number of its last drawing: an older one that ends later is thrown away
  let library = null;

  const scheme = () => (document.body.getAttribute("data-md-color-scheme") === "slate" ? "dark" : "light");

  const fetchJson = async (address) => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return answer.json();
  };

  // About 900 kB, loaded with the first figure that is seen and not before.
  const load = () => {
    library ??= Promise.all([
      fetchJson(new URL("charts/themes.json", assets)),
      import(new URL("javascripts/vega.js", assets)),
    ]).then(([themes]) => themes);
    return library;
  };

  const readSpec = async (figure) => {
    const { spec, values } = figure.dataset;
    const [made, datasets] = await Promise.all([
      fetchJson(new URL(spec, location.href)),
      values ? fetchJson(new URL(values, location.href)) : undefined,
    ]);
    return datasets ? { ...made, datasets } : made;
  };

  const place = (figure) => {
    const existing = figure.querySelector(":scope > .vl-live");
    if (existing) return existing;
    const made = document.createElement("div");
    made.className = "vl-live";
    figure.prepend(made);
    return made;
  };

  const forget = (figure) => {
    views.get(figure)?.finalize();
    views.delete(figure);
  };

  const draw = async (figure) => {
    const turn = (turns.get(figure) ?? 0) + 1;
    turns.set(figure, turn);
    const [themes, spec] = await Promise.all([load(), readSpec(figure)]);
    if (turns.get(figure) !== turn || !figure.isConnected) return;
    forget(figure);
    const live = place(figure);
    const theme = scheme();
    const view = await window.vegaEmbed(live, spec, {
      mode: "vega-lite",
      renderer: "svg",
      actions: false,
      ast: true, // expressions are interpreted: a content security policy need not allow eval
      config: themes[figure.clientWidth < 560 ? `${theme}-narrow` : theme],
      tooltip: { theme },
    });
    if (turns.get(figure) !== turn || !figure.isConnected) {
      view.finalize();
      return;
    }
    views.set(figure, view);
    figure.dataset.scheme = theme;
    figure.dataset.state = "drawn";
    if (theme !== scheme()) await draw(figure); // it changed meanwhile
  };

  const attempt = (figure) =>
    draw(figure).catch((reason) => {
      figure.dataset.state = "still"; // the still picture stays
      console.warn(`deadheat: ${figure.dataset.spec} is shown as a still picture:`, reason);
    });

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        attempt(target);
      }
    },
    { rootMargin: "200px" },
  );

  const enter = () => {
    for (const figure of views.keys()) if (!figure.isConnected) forget(figure);
    for (const figure of document.querySelectorAll("figure.vl:not([data-state])")) seen.observe(figure);
  };

  new MutationObserver(() => {
    for (const figure of [...views.keys()]) if (figure.dataset.scheme !== scheme()) attempt(figure);
  }).observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });

  window.document$.subscribe(enter);
})();
