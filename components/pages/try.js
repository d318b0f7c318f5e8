"use strict";
// Searches items, keeps a history, asks the server for recommendations. Text goes in as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const [query, found, count, taken, empty, clear, answers, served] =
    ["query", "found", "count", "history", "empty", "clear", "answers", "served"].map(byId);
  const PAUSE = 120;
  let history = [];
  let asked = 0;
  let searched = 0;
  let timer = null;

  const ask = async (path, body) => {
    const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
    const answer = await fetch(path, options);
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.message);
    return said;
  };
  const pictureOf = (item, kind) => {
    const picture = make("img", "", kind);
    picture.alt = "";  // the title stands beside it
    picture.loading = "lazy";
    picture.src = `picture?item=${encodeURIComponent(item.item_id)}`;
    return picture;
  };
  const named = (item) => {
    const label = make("span", "", item.picture ? "pictured" : "");
    if (item.picture) label.append(pictureOf(item, "picture"));
    label.append(make("span", item.words, "words"), make("span", item.title, "title"));
    return label;
  };

  const search = async () => {
    const mine = ++searched;
    const text = query.value.trim();
    const items = text ? (await ask(`items?q=${encodeURIComponent(text)}`)).items : [];
    if (mine !== searched) return;  // somebody typed on
    found.replaceChildren(...items.map((item) => {
      const row = make("li");
      row.setAttribute("role", "option");
      const button = make("button");
      button.type = "button";
      button.append(named(item), make("span", item.item_id, "soft"));
      button.addEventListener("click", () => { add(item); });
      row.append(button);
      return row;
    }));
    found.hidden = !items.length;
    query.setAttribute("aria-expanded", String(items.length > 0));
    count.textContent = text && !items.length ? `No item has all of: ${text}` : "";
  };
  const show = () => {
    taken.replaceChildren(...history.map((item, place) => {
      const chip = make("li");
      const button = make("button", "", "chip");
      button.type = "button";
      button.title = `${item.title} (${item.item_id})`;
      button.setAttribute("aria-label", `Remove ${item.words}`);
      if (item.picture) button.append(pictureOf(item, "picture small"), " ");
      button.append(make("span", item.words), " ×");
      button.addEventListener("click", () => { history.splice(place, 1); show(); });
      chip.append(button);
      return chip;
    }));
    empty.hidden = history.length > 0;
    clear.hidden = !history.length;
    recommend();
  };
  const add = (item) => {
    history = history.filter((each) => each.item_id !== item.item_id);
    history.push(item);
    show();
    query.value = "";
    search();
    query.focus();
  };
  const column = (side, other) => {
    const part = make("section");
    part.append(make("h2", `${side.alias}, version ${side.version}`), make("p", side.sentence));
    const list = make("ol", "", "cards");
    list.append(...side.items.map((item) => {
      const card = make("li", "", other && !other.has(item.item_id) ? "hit" : "");
      const button = make("button");
      button.type = "button";
      button.setAttribute("aria-label", `Take ${item.words}`);
      const label = named(item);
      if (item.reason) label.append(make("span", item.reason, "soft"));
      button.append(label);
      if (card.className) button.append(make("strong", "only here"));
      button.addEventListener("click", () => add(item));
      card.append(button);
      return card;
    }));
    part.append(list);
    return part;
  };
  const recommend = async () => {
    const mine = ++asked;
    if (!history.length) { answers.replaceChildren(); return; }
    const slow = setTimeout(() => {
      answers.setAttribute("aria-busy", "true");
      if (!answers.children.length) answers.append(make("p", "The model is asked ..."));
    }, PAUSE);
    try {
      const said = await ask("try", { history: history.map((item) => item.item_id), k: 10 });
      if (mine !== asked) return;
      const sets = said.sides.map((side) => new Set(side.items.map((item) => item.item_id)));
      answers.replaceChildren(...said.sides.map((side, number) => column(side, sets.length > 1 ? sets[1 - number] : null)));
      served.textContent = `${said.sides.map((side) => `${side.alias}: version ${side.version}`).join(", ")} of ${said.model}; `
        + `${Math.round(said.seconds * 1000)} ms`;
    } catch (error) {
      if (mine === asked) answers.replaceChildren(make("p", `The server does not answer: ${error.message}`));
    } finally {
      clearTimeout(slow);
      answers.removeAttribute("aria-busy");
    }
  };

  query.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, PAUSE); });
  query.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { found.querySelector("button")?.focus(); event.preventDefault(); }
    // What stands there may be of the letters before.
    if (event.key === "Enter") { clearTimeout(timer); search().then(() => found.querySelector("button")?.click()); }
    if (event.key === "Escape") { query.value = ""; search(); }
  });
  found.addEventListener("keydown", (event) => {
    const row = event.target.closest("li");
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!row || !step) return;
    event.preventDefault();
    (row[step]?.querySelector("button") || query).focus();
  });
  clear.addEventListener("click", () => { history = []; show(); query.focus(); });
  show();
})();
