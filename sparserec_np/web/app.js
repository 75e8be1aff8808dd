/* The page around sparserec.js: search a title, pick, see recommendations and why. */
"use strict";

(async () => {
  const $ = (id) => document.getElementById(id);
  const element = (tag, className, textContent = "") =>
    Object.assign(document.createElement(tag), { className, textContent });
  const plain = sparserec.fold;
  const SHOWN = 10, FOUND = 30; // items, titles found
  const LONG = 30, LEAST = 0.05; // of a reason: letters of a title, share of all reasons
  const liked = [], disliked = [];
  let model, names, chosen = 0, matches = [];

  try {
    const bytes = Uint8Array.from(atob(SPARSEREC_MODEL), (c) => c.charCodeAt(0));
    model = await sparserec.load(bytes.buffer);
    names = model.labels.map(plain);
    $("facts").textContent =
      `${model.size.toLocaleString()} titles in a model of ${Math.round(bytes.length / 1000).toLocaleString()} KB. ` +
      "Nothing you pick leaves this page.";
  } catch (error) {
    $("heading").textContent = "This page cannot open its model";
    $("lead").textContent = error.message;
    throw error;
  }

  const popular = [...model.bias.keys()].sort((a, b) => model.bias[b] - model.bias[a] || a - b);

  const find = (query) =>
    model.find(query, model.size).filter((index) => !liked.includes(index) && !disliked.includes(index)).slice(0, FOUND);

  /* A title with the first occurrence of the query marked, where plain and real text line up. */
  function marked(index, query) {
    const item = element("li", ""), label = model.labels[index], at = names[index].indexOf(plain(query));
    if (at < 0 || names[index].length !== label.length) item.textContent = label;
    else {
      const end = at + query.length;
      item.append(label.slice(0, at), element("mark", "", label.slice(at, end)), label.slice(end));
    }
    return item;
  }

  function showFound() {
    const query = $("search").value.trim();
    matches = query ? find(query) : [];
    chosen = 0;
    $("found").replaceChildren(...matches.map((index, place) => {
      const item = marked(index, query);
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", place === chosen);
      item.onclick = () => like(index);
      return item;
    }));
    if (query && !matches.length) $("found").append(element("li", "none", "No title has these words"));
    $("found").hidden = !query;
    $("search").setAttribute("aria-expanded", Boolean(query));
  }

  function like(index) {
    if (!liked.includes(index)) liked.push(index);
    if (disliked.includes(index)) disliked.splice(disliked.indexOf(index), 1);
    $("search").value = "";
    showFound();
    show();
  }

  function dislike(index) {
    disliked.push(index);
    show();
  }

  /* A picked title, in the list of liked or of disliked ones. */
  function chip(index, picked) {
    const button = element("button", "");
    button.append(element("span", "", model.labels[index]));
    button.setAttribute("aria-label", `Remove ${model.labels[index]}`);
    button.onclick = () => { picked.splice(picked.indexOf(index), 1); show(); };
    const item = element("li", picked === disliked ? "disliked" : "");
    item.append(button);
    return item;
  }

  /* What was picked by hand has no order, so it counts alike, however long ago. */
  const wishes = () => ({
    recency: 0, dislikes: disliked,
    popularity: Number($("popularity").value), diversity: Number($("diversity").value),
  });

  /* A title without what stands in brackets, cut off after a word where it is long. */
  function short(title) {
    const bare = title.replace(/\s*\([^()]*\)/g, "") || title;
    return bare.length > LONG ? `${bare.slice(0, LONG).replace(/[\s,:]+\S*$/, "")}…` : bare;
  }

  /* What pulled an item up, largest share first: what is liked or disliked, and that it is popular. */
  function reasons(index) {
    const { bias, parts } = model.explain(index, liked, wishes());
    const causes = parts.map(({ index, share }) => ({ index, share, title: model.labels[index] }));
    const helping = [...causes, { share: bias, title: "" }].filter(({ share }) => share > 0);
    const total = helping.reduce((sum, { share }) => sum + share, 0);
    const best = helping.filter(({ share }) => share >= LEAST * total).sort((a, b) => b.share - a.share).slice(0, 3);
    if (!best.length) return [];
    const named = (picked) => best.filter(({ index }) => picked.includes(index)).slice(0, 2)
      .map(({ title }) => short(title)).join(" and ");
    const phrases = { "because you like ": named(liked), "unlike ": named(disliked) };
    const words = Object.keys(phrases).filter((phrase) => phrases[phrase]).map((phrase) => phrase + phrases[phrase]);
    if (best.some(({ title }) => !title)) words.push("popular with everybody");
    const why = words.join("; ");
    const bar = element("span", "bar");
    for (const { share, title } of best) {
      const piece = element("i", title ? "" : "everybody");
      piece.style.flex = String(share);
      piece.title = title || "Popular with everybody";
      bar.append(piece);
    }
    return [element("span", "why", why[0].toUpperCase() + why.slice(1)), bar];
  }

  function card(index, place) {
    const button = element("button", "");
    const rank = element("span", "rank", String(place + 1));
    button.append(rank, element("span", "title", model.labels[index]), element("span", "add"));
    button.setAttribute("aria-label", `I like ${model.labels[index]}`);
    button.onclick = () => like(index);
    if (liked.length) button.append(...reasons(index));
    const item = element("li", "");
    item.dataset.index = index;
    item.append(button);
    if (liked.length) {
      const not = element("button", "not", "Not for me");
      not.setAttribute("aria-label", `Not for me: ${model.labels[index]}`);
      not.onclick = () => dislike(index);
      item.append(not);
    }
    return item;
  }

  const KNOBS = { popularity: "1", diversity: "0" };

  /* Picks and knobs live in the address: a reload keeps them, and a link shares them. */
  function keep() {
    const address = new URLSearchParams();
    for (const index of liked) address.append("like", model.ids[index]);
    for (const index of disliked) address.append("dislike", model.ids[index]);
    for (const knob in KNOBS) if ($(knob).value !== KNOBS[knob]) address.set(knob, $(knob).value);
    history.replaceState(null, "", `#${address}`);
  }

  /* What the address says; ids that this model does not have are left out. */
  function recall() {
    const address = new URLSearchParams(location.hash.slice(1)), place = new Map(model.ids.map((id, i) => [String(id), i]));
    const known = (name) => [...new Set(address.getAll(name))].filter((id) => place.has(id)).map((id) => place.get(id));
    liked.splice(0, liked.length, ...known("like"));
    disliked.splice(0, disliked.length, ...known("dislike").filter((index) => !liked.includes(index)));
    for (const knob in KNOBS) $(knob).value = address.get(knob) || KNOBS[knob];
    show();
  }

  function show() {
    keep();
    $("liked").replaceChildren(
      ...liked.map((index) => chip(index, liked)), ...disliked.map((index) => chip(index, disliked)));
    $("taste").hidden = !liked.length;
    const hits = liked.length ? model.recommend(liked, SHOWN, liked, wishes()) : [];
    const best = liked.length ? hits.map((hit) => hit.index) : popular.slice(0, SHOWN);
    $("heading").textContent = liked.length ? "Recommended for you" : "Popular, to begin with";
    $("results").replaceChildren(...best.map(card));
  }

  $("popularity").oninput = $("diversity").oninput = show;
  $("search").oninput = showFound;
  $("search").onkeydown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && matches.length) like(matches[chosen]);
    else if (event.key === "Escape") { $("search").value = ""; showFound(); }
    else if (step && matches.length) {
      chosen = (chosen + step + matches.length) % matches.length;
      [...$("found").children].forEach((item, place) => item.setAttribute("aria-selected", place === chosen));
      $("found").children[chosen].scrollIntoView({ block: "nearest" });
    } else return;
    event.preventDefault();
  };
  document.addEventListener("click", (event) => { if (!event.target.closest(".picker")) $("found").hidden = true; });
  $("search").disabled = false;
  window.onhashchange = recall;
  recall();
  window.page = { model, liked, disliked, like, dislike }; // for the console, and for tests
})();
