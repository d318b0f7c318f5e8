"use strict";
// Looks up a user among those in the page: type to filter, chips for slices. Text goes in as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const query = document.getElementById("query");
  const list = document.getElementById("found");
  const shown = document.getElementById("shown");
  const count = document.getElementById("count");
  const AT_ONCE = 100;
  const chosen = new Set();
  let current = null;

  const words = (item, side) => data.items[item][1 + Math.min(side, data.items[item].length - 2)];
  const place = (rank) => (rank ? `place ${rank}` : "not in the list");
  // A user is found by id, by what was taken, and by what any list shows.
  const haystack = data.users.map((user) => {
    const items = [user.target, ...user.history, ...user.lists.flat()];
    return [user.id, ...items.map((item) => data.items[item].join(" "))].join("\n").toLowerCase();
  });

  const card = (item, side, hit) => {
    const row = make("li", "", hit ? "hit" : "");
    const label = make("div");
    label.append(make("span", words(item, side), "words"));
    if (hit) label.append(" ", make("strong", "✓ taken"));
    label.append(make("span", data.items[item][0], "title"));
    const picture = data.pictures[item];
    if (picture !== undefined) {
      const both = make("div", "", "pictured");
      both.append(make("span", "", `picture p${picture}`), label);
      row.append(both);
    } else row.append(label);
    return row;
  };
  const column = (heading, tag, items, side, target, kind = "") => {
    const box = make("div");
    const head = make("h3", "", kind);
    if (kind) head.append(make("span", "", "swatch"));
    head.append(heading);
    const rows = make(tag);
    rows.append(...items.map((item) => card(item, side, item === target)));
    if (!items.length) rows.append(make("li", "nothing"));
    box.append(head, rows);
    return box;
  };
  const show = (at) => {
    const user = data.users[at];
    current = at;
    const box = make("div", "", "user");
    const columns = make("div", "", "columns");
    const had = column("History", "ul", user.history, 0, null);
    if (user.earlier) had.insertBefore(make("p", `${user.earlier} earlier`, "soft"), had.lastChild);
    had.append(...column("Took next", "ul", [user.target], 0, user.target).childNodes);
    columns.append(had);
    data.sides.forEach((name, side) => {
      const heading = `${name}: ${place(user.ranks[side])}`;
      columns.append(column(heading, "ol", user.lists[side], side, user.target, `side-${side}`));
    });
    box.append(make("h3", `User ${user.id}`), make("p", user.slices.map((each) => data.slices[each]).join(" · "), "soft"), columns);
    shown.replaceChildren(box);
    for (const button of list.querySelectorAll("button")) {
      button.setAttribute("aria-current", String(Number(button.dataset.at) === at));
    }
  };
  const filter = () => {
    const asked = query.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    // Of one slicing any chosen slice will do; of two slicings both have to fit.
    const groups = new Map();
    for (const each of chosen) {
      const slicing = data.slices[each].split(":")[0];
      groups.set(slicing, [...(groups.get(slicing) || []), each]);
    }
    const found = data.users.map((_, at) => at).filter((at) =>
      asked.every((word) => haystack[at].includes(word)) &&
      [...groups.values()].every((any) => any.some((each) => data.users[at].slices.includes(each))));
    count.textContent = `${found.length.toLocaleString("en")} of ${data.users.length.toLocaleString("en")} users` +
      (found.length > AT_ONCE ? `; the first ${AT_ONCE} are listed` : "");
    list.replaceChildren(...found.slice(0, AT_ONCE).map((at) => {
      const user = data.users[at];
      const row = make("li");
      const button = make("button");
      button.type = "button";
      button.dataset.at = at;
      button.append(make("span", user.id), make("span", user.ranks.map((rank) => rank || "–").join(" → ")),
        make("span", words(user.target, 0), "title"));
      button.addEventListener("click", () => show(at));
      row.append(button);
      return row;
    }));
    if (found.length && !found.includes(current)) show(found[0]);
    else if (found.length) show(current);
    else shown.replaceChildren(make("p", "Nobody fits. Take a word or a slice away.", "soft"));
  };

  document.getElementById("chips").append(...data.slices.map((name, each) => {
    const chip = make("button", name, "chip");
    chip.type = "button";
    chip.setAttribute("aria-pressed", "false");
    chip.addEventListener("click", () => {
      if (!chosen.delete(each)) chosen.add(each);
      chip.setAttribute("aria-pressed", String(chosen.has(each)));
      filter();
    });
    return chip;
  }));
  query.addEventListener("input", filter);
  // On paper nothing can be opened.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  filter();
})();
