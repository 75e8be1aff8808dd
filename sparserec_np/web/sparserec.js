/* Reads a sparserec-np model file (formats 1.x to 4.x, history models) and recommends. No dependencies.

   const model = await sparserec.load(arrayBuffer);  // model.ids[42], model.labels[42]
   model.recommend([3, 17], 10)   // indices of liked items, latest last -> [{ index, score }, ...]
   model.recommend([3, 17], 10, [3, 17], { popularity: 0.5, diversity: 0.2, recency: 0, dislikes: [8] })
   model.explain(42, [3, 17])     // -> { score, bias, parts: [{ index, share }, ...] }; wishes may follow
   FORMAT.md is the specification; sums are done in its order, so scores equal the other readers'. */
"use strict";

const sparserec = (() => {
  const POOL = 100; // items that diversity chooses from, at least
  const fail = (what) => { throw new Error(what); };

  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
    return n;
  });

  function crc32(bytes) {
    const crc = bytes.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), -1);
    return ((crc ^ -1) >>> 0).toString(16).padStart(8, "0");
  }

  /* The object of a JSON text, refused where FORMAT.md, section 6, says so. */
  function parse(text) {
    const value = JSON.parse(text), open = [];
    const tokens = /("(?:[^"\\]|\\.)*")\s*(:?)|[{}[\]]|[^\s{}[\],:"]+/gs;
    for (const [token, string, colon] of text.matchAll(tokens)) {
      if (string) {
        const plain = JSON.parse(string);
        if (/\p{Surrogate}/u.test(plain)) fail("a lone surrogate");
        if (colon && open.at(-1).has(plain)) fail("a key twice");
        if (colon) open.at(-1).add(plain);
      } else if (/[{[]/.test(token)) {
        if (open.push(new Set()) > 32) fail("nested too deeply");
      } else if (/[}\]]/.test(token)) open.pop();
      else if (/^-?\d+$/.test(token) ? token.length > 20 : /\d/.test(token) && !isFinite(token)) fail("a huge number");
    }
    if (!text.trimStart().startsWith("{")) fail("no JSON object");
    return value;
  }

  function integer(fields, key, least, most) {
    const value = fields?.[key];
    if (!Number.isInteger(value) || value < least || value > most) fail(`${key} is no integer from ${least} to ${most}`);
    return value;
  }

  /* An integer that is written as text. */
  function decimal(fields, key, least, most) {
    const value = typeof fields[key] === "string" && /^-?\d{1,20}$/.test(fields[key]) ? BigInt(fields[key]) : null;
    if (value === null || value < least || value > most) fail(`${key} is no integer from ${least} to ${most} in text`);
    return value;
  }

  function adler32(bytes) {
    let a = 1, b = 0;
    for (const byte of bytes) b = (b + (a = (a + byte) % 65521)) % 65521;
    return b * 65536 + a;
  }

  async function inflate(bytes, size) {
    const whole = new Uint8Array(size);
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    for (let have = 0; ;) {
      const { done, value } = await reader.read();
      if (done ? have !== size : have + value.length > size) {
        reader.cancel().catch(() => {});
        fail(`a part does not inflate to ${size} bytes`);
      }
      if (done && adler32(whole) !== new DataView(bytes.slice(-4).buffer).getUint32(0)) fail("bytes after a zlib stream");
      if (done) return whole;
      whole.set(value, have);
      have += value.length;
    }
  }

  /* Whether bytes come after others, which agree with them in the first `same` ones. */
  function rises(before, after, same) {
    while (same < before.length && before[same] === after[same]) same++;
    return same < after.length && (same === before.length || before[same] < after[same]);
  }

  const WIDTHS = new Map([["U8", 1], ["U32", 4], ["F32", 4]]);

  class Container {
    constructor(buffer) {
      if (buffer.byteLength < 8) fail("too short");
      const length = Number(new DataView(buffer).getBigUint64(0, true));
      if (length < 2 || length > Math.min(buffer.byteLength - 8, 1 << 20)) fail("header length");
      const raw = new Uint8Array(buffer.slice(0, 8 + length));
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw.subarray(8));
      const { __metadata__: metadata, ...entries } = parse(text);
      const texts = metadata && !Array.isArray(metadata) && Object.values(metadata);
      if (!texts || !texts.every((value) => typeof value === "string")) fail("no metadata of texts");
      if (metadata.format !== "sparserec-np") fail("of another format");
      if (!/^[1-4]\.\d+$/.test(metadata.version)) fail(`format version ${metadata.version}, not 1.x to 4.x`);
      const mark = text.indexOf('"header_crc32":"');
      const place = 8 + new TextEncoder().encode(text.slice(0, mark)).length + 16;
      const found = String.fromCharCode(...raw.subarray(place, place + 8));
      if (mark < 0 || found !== crc32(raw.slice().fill(48, place, place + 8))) fail("checksum of the header");
      this.size = buffer.byteLength;
      this.data = buffer.slice(8 + length);
      if (metadata.data_crc32 !== crc32(new Uint8Array(this.data))) fail("checksum of the data");
      this.entries = new Map(Object.entries(entries));
      this.checkCover();
      [this.model] = ["model", "config", "facts"].map((key) => parse(metadata[key] ?? ""));
    }

    /* The tensors lie one after the other and are all of the data. */
    checkCover() {
      const count = (x) => Number.isSafeInteger(x) && x >= 0;
      for (const [name, entry] of this.entries) {
        const { dtype, shape, data_offsets: offsets } = entry ?? {};
        if (Object.keys(entry ?? {}).length !== 3 || typeof dtype !== "string" || !Array.isArray(shape)
          || !Array.isArray(offsets) || offsets.length !== 2 || shape.length > 32
          || ![...shape, ...offsets].every(count)) fail(`the entry of ${name}`);
        const size = shape.includes(0) ? 0 : shape.reduce((a, b) => a * b, WIDTHS.get(dtype));
        if (WIDTHS.has(dtype) && size !== offsets[1] - offsets[0]) fail(`the size of ${name}`);
      }
      const extents = [...this.entries.values()].map((entry) => entry.data_offsets);
      let position = 0;
      for (const [begin, end] of extents.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
        if (begin !== position || end < position) fail("the tensors do not lie one after the other");
        position = end;
      }
      if (position !== this.data.byteLength) fail("the tensors do not end where the file ends");
    }

    tensor(name, dtype, length) {
      const entry = this.entries.get(name);
      if (entry?.dtype !== dtype || entry.shape.length !== 1 || entry.shape[0] !== length) fail(`tensor ${name}`);
      return new Uint8Array(this.data, entry.data_offsets[0], length * WIDTHS.get(dtype));
    }

    levels(prefix, bits) {
      const view = new DataView(this.tensor(`${prefix}.levels`, "F32", 1 << bits).slice().buffer);
      const levels = Float64Array.from({ length: 1 << bits }, (_, i) => view.getFloat32(4 * i, true));
      if (!levels.every((x, i) => Math.abs(x) <= 1e6 && !(x < levels[i - 1]))) fail(`${prefix}.levels`);
      return levels;
    }

    values(prefix, n, bits) {
      const levels = this.levels(prefix, bits);
      const packed = this.tensor(`${prefix}.codes`, "U8", Math.ceil((n * bits) / 8));
      return Float64Array.from(unpack(packed, bits, n), (code) => levels[code]);
    }

    /* Strictly ascending keys below `universe`, a BigInt; BigInts themselves where they are wide. */
    monotone(prefix, n, universe, bits) {
      const span = Number(universe >> BigInt(bits));
      const high = this.tensor(`${prefix}.high`, "U8", Math.ceil((n + span) / 8));
      const low = unpack(this.tensor(`${prefix}.low`, "U8", Math.ceil((n * bits) / 8)), bits, n);
      const big = universe > 2n ** 53n, wide = big || bits > 45, step = 2 ** bits;
      const keys = wide ? new BigUint64Array(n) : new Float64Array(n);
      let e = 0;
      for (let byte = 0; byte < high.length; byte++) {
        for (let rest = high[byte]; rest; rest &= rest - 1) {
          if (e === n) fail(`${prefix}.high has too many keys`);
          const upper = 8 * byte + 31 - Math.clz32(rest & -rest) - e;
          const key = wide ? (BigInt(upper) << BigInt(bits)) + BigInt(low[e]) : upper * step + low[e];
          if (key >= universe) fail(`${prefix}.high has a key that is too large`);
          keys[e] = key;
          if (e && keys[e] <= keys[e - 1]) fail(`${prefix}.high does not rise`);
          e++;
        }
      }
      if (e !== n) fail(`${prefix}.high has too few keys`);
      return wide && !big ? Float64Array.from(keys, Number) : keys;
    }

    /* A sparse table of `rows` rows of `n` items each: bounds of the rows, items, and values. */
    table(prefix, fields, rows, n) {
      const weights = integer(fields, "weights", 0, Math.min(rows * n, 2 ** 32 - 1));
      const bits = integer(fields, "value_bits", 1, 8), lowBits = integer(fields, "low_bits", 0, 56);
      const keys = this.monotone(prefix, weights, BigInt(rows) * BigInt(n), lowBits);
      const wide = keys instanceof BigUint64Array, size = wide ? BigInt(n) : n;
      const items = Uint32Array.from(keys, (key) => Number(key % size)), bounds = new Uint32Array(rows + 1);
      for (const key of keys) bounds[(wide ? Number(key / size) : Math.floor(key / size)) + 1]++;
      for (let row = 0; row < rows; row++) bounds[row + 1] += bounds[row];
      return { bounds, items, values: this.values(prefix, weights, bits) };
    }

    async texts(prefix, fields, n, ascending) {
      const width = integer(fields, "width", 1, 4), stored = integer(fields, "stored", 0, 2 ** 53 - 1);
      const start = 2 * n * width, size = start + integer(fields, "bytes", 0, 2 ** 53 - 1);
      const { deflated } = fields, most = 64 * stored + 2 ** 24;
      if (width === 3 || typeof deflated !== "boolean" || size > most || (!deflated && size !== stored))
        fail(`the fields of ${prefix}.texts`);
      const packed = this.tensor(`${prefix}.texts`, "U8", stored), raw = deflated ? await inflate(packed, size) : packed;
      const number = (i) => raw.subarray(i * width, i * width + width).reduceRight((a, b) => a * 256 + b, 0);
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      let text = new Uint8Array(0), place = start, joined = 0;
      const texts = Array.from({ length: n }, (_, i) => {
        const shared = number(i), rest = number(n + i), before = text;
        joined += shared + rest;
        if (shared > before.length || place + rest > size || joined > most) fail(`${prefix}.texts`);
        text = new Uint8Array(shared + rest);
        text.set(before.subarray(0, shared));
        text.set(raw.subarray(place, (place += rest)), shared);
        if (ascending && i && !rises(before, text, shared)) fail(`${prefix}.texts does not rise`);
        return decoder.decode(text);
      });
      if (place !== size) fail(`${prefix}.texts has another length`);
      return texts;
    }

    async ids(fields, n) {
      if (fields?.kind === "str") return this.texts("item_ids", fields, n, true);
      if (fields?.kind !== "int") fail("the kind of the ids");
      const start = decimal(fields, "start", -(2n ** 63n), 2n ** 63n - 1n);
      const span = decimal(fields, "span", BigInt(n), 2n ** 63n - start);
      const narrow = (id) => (Number.isSafeInteger(Number(id)) ? Number(id) : id);
      if (span === BigInt(n)) return Array.from({ length: n }, (_, i) => narrow(start + BigInt(i)));
      const keys = this.monotone("item_ids", n, span, integer(fields, "low_bits", 0, 56));
      return Array.from(keys, (key) => narrow(start + BigInt(key)));
    }
  }
  /* Packed integers; BigInts if they have more than 45 bits. */
  function unpack(bytes, bits, n) {
    const number = bits > 45 ? BigInt : Number;
    const power = Array.from({ length: 64 }, (_, j) => number(2) ** number(j));
    return Array.from({ length: n }, (_, i) => {
      let byte = Math.floor((i * bits) / 8), have = 8 - ((i * bits) % 8);
      let value = number(bits ? bytes[byte] >> (8 - have) : 0);
      for (; have < bits; have += 8) value += number(bytes[++byte]) * power[have];
      return value % power[bits];
    });
  }

  /* sign(y) |y|^(eighths / 8), by square roots alone: the same bits in every language. */
  function bend(y, eighths) {
    let root = Math.abs(y), size = Math.sign(y);
    for (const bit of [8, 4, 2, 1])
      [size, root] = [eighths & bit ? size * root : size, Math.sqrt(root)];
    return size;
  }

  class Model {
    static async open(buffer) {
      const file = new Container(buffer), layout = file.model, self = new Model();
      if (layout.users !== "history") fail("an embedding model; only history models work here");
      const n = integer(layout, "n_items", 1, Math.min(2 ** 31 - 1, 2 * file.size));
      const dim = integer(layout, "dim", 1, 65535), { exponent } = layout;
      if (typeof exponent !== "number" || !(exponent >= 0 && exponent <= 2)) fail("exponent is no number from 0 to 2");
      const eighths = "eighths" in layout ? integer(layout, "eighths", 1, 8) : 8;
      const recency = "recency" in layout ? integer(layout, "recency", 0, 8) : 0;
      Object.assign(self, { size: n, dim, exponent, eighths, recency });
      self.ids = await file.ids(layout.item_ids, n);
      const labels = "labels" in layout ? await file.texts("labels", layout.labels, n) : [];
      self.labels = self.ids.map((id, i) => labels[i] || String(id));
      self.bias = file.values("bias", n, integer(layout, "bias_bits", 1, 8));
      const bits = integer(layout, "history_bits", 0, 8);
      if (bits && !(file.levels("history", bits)[0] > 0)) fail("a history weight is not above 0");
      self.weights = bits ? file.values("history", n, bits) : new Float64Array(n).fill(1);
      Object.assign(self, file.table("items", layout.items, dim, n));
      self.neighbours = "neighbours" in layout ? file.table("neighbours", layout.neighbours, n, n) : null;
      return self;
    }

    /* Calls visit(dimension, item, value) for the stored weights of some items. */
    rows(items, visit) {
      const wanted = new Uint8Array(this.size);
      for (const item of items) wanted[item] = 1;
      for (let d = 0, e = 0; d < this.dim; d++)
        for (; e < this.bounds[d + 1]; e++)
          if (wanted[this.items[e]]) visit(d, this.items[e], this.values[e]);
    }

    /* Weights of the items of a history and of the disliked ones, a Map; their sum over the dimensions; its scale. */
    compose(history, { recency = this.recency / 8, dislikes = [] } = {}) {
      const disliked = new Set(dislikes), sums = new Float64Array(this.dim);
      const ages = [...new Set([...history].reverse())].filter((item) => !disliked.has(item));
      const byAge = ages.map((_, age) => (recency ? bend(1 / (age + 1), recency * 8) : 1));
      const ofAge = new Map([...ages.map((item, age) => [item, byAge[age]]), ...[...disliked].map((item) => [item, -1])]);
      const known = new Map([...ofAge].map(([item, weight]) => [item, this.weights[item] * weight]));
      this.rows(known.keys(), (d, item, value) => { sums[d] += value * known.get(item); });
      return { known, ofAge, sums, n: ages.length, scale: byAge.reduce((sum, weight) => sum + weight, 0) ** -this.exponent };
    }

    /* Calls visit(source, item, addition) for what the items of a history add to the scores of others. */
    additions(ofAge, visit) {
      const { bounds, items, values } = this.neighbours ?? { bounds: [] };
      for (const source of [...ofAge.keys()].sort((a, b) => a - b))
        for (let e = bounds[source]; e < bounds[source + 1]; e++)
          visit(source, items[e], values[e] * ofAge.get(source));
    }

    /* wishes: { popularity, diversity, recency, dislikes }, all of them optional. */
    recommend(history, k = 10, exclude = history, wishes = {}) {
      const { popularity = 1, diversity = 0, dislikes = [] } = wishes;
      const { sums, scale, n, ofAge } = this.compose(history, wishes), left = new Set([...exclude, ...dislikes]);
      const best = [], most = Math.min(diversity ? Math.max(POOL, 2 * k) : k, this.size);
      if (!n) throw new Error("the history is empty");
      const dots = new Float64Array(this.size), added = new Float64Array(this.size);
      this.additions(ofAge, (_, item, addition) => { added[item] += addition; });
      sums.map((y) => bend(y, this.eighths)).forEach((z, d) => {
        for (let e = this.bounds[d]; z && e < this.bounds[d + 1]; e++)
          dots[this.items[e]] += this.values[e] * z;
      });
      for (let index = 0; index < this.size; index++) {
        const score = dots[index] * scale + this.bias[index] * popularity + added[index];
        if (left.has(index) || (best.length === most && score <= best[most - 1].score)) continue;
        const place = best.findLastIndex((other) => other.score >= score) + 1;
        best.splice(place, 0, { index, score });
        best.length = Math.min(best.length, most);
      }
      return diversity ? this.diversify(best, k, diversity) : best;
    }

    /* Chooses items one by one for their score and for being unlike those chosen before. */
    diversify(best, k, diversity) {
      const rows = new Map(best.map(({ index }) => [index, new Map()])), chosen = [];
      if (this.items.length) this.rows(rows.keys(), (d, item, value) => { rows.get(item).set(d, value); });
      else this.additions(new Map(best.map(({ index }) => [index, 1])), (source, item, value) => { rows.get(source).set(item, value); });
      const last = best.at(-1)?.score, spread = best[0]?.score - last;
      let left = best.map((hit) => {
        const row = rows.get(hit.index), length = Math.sqrt([...row.values()].reduce((sum, x) => sum + x * x, 0));
        return { hit, row, length, closest: 0, worth: spread > 0 ? ((1 - diversity) * (hit.score - last)) / spread : 0 };
      });
      while (left.length && chosen.length < k) {
        const value = ({ worth, closest }) => worth - diversity * closest;
        const one = left.reduce((a, b) => (value(b) > value(a) ? b : a));
        chosen.push(one.hit);
        left = left.filter((other) => other !== one);
        for (const other of left) {
          let dot = 0;
          for (const [d, x] of other.row) dot += (one.row.get(d) ?? 0) * x;
          const product = other.length * one.length;
          if (product > 0) other.closest = Math.max(other.closest, dot / product);
        }
      }
      return chosen;
    }

    /* Indices of the items whose titles have all words of a text, the closest first, then the most popular. */
    find(text, k = 10) {
      this.titles ??= this.labels.map(foldTitle);
      const wanted = foldTitle(text), grades = this.titles.map((title) => closeness(wanted, title));
      const hits = [...grades.keys()].filter((index) => grades[index] >= 0);
      return hits.sort((a, b) => grades[b] - grades[a] || this.bias[b] - this.bias[a] || a - b).slice(0, k);
    }

    explain(index, history, wishes = {}) {
      const { known, ofAge, sums, scale } = this.compose(history, wishes);
      const bias = this.bias[index] * (wishes.popularity ?? 1);
      const target = new Float64Array(this.dim), shares = new Float64Array(this.size);
      const stretch = (y) => (this.eighths < 8 ? bend(y, this.eighths) / y || 0 : 1);
      this.rows([index], (d, _, value) => { target[d] = value * stretch(sums[d]); });
      this.rows(known.keys(), (d, item, value) => { shares[item] += known.get(item) * value * target[d]; });
      const added = new Map();
      this.additions(ofAge, (source, item, addition) => { if (item === index) added.set(source, addition); });
      const share = (item) => scale * shares[item] + (added.get(item) ?? 0);
      const parts = [...known.keys()].map((item) => ({ index: item, share: share(item) }));
      parts.sort((a, b) => b.share - a.share || a.index - b.index);
      return { score: parts.reduce((sum, part) => sum + part.share, bias), bias, parts };
    }
  }

  /* Titles: the rules of runtime/titles.py. Accents, case, punctuation and articles do not matter. */
  const LETTERS = { ß: "ss", æ: "ae", œ: "oe", ø: "o", ł: "l", đ: "d", ð: "d", þ: "th", ı: "i", "'": "", "’": "", "`": "" };
  const fold = (text) =>
    text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[ßæœøłđðþı'’`]/g, (c) => LETTERS[c]);
  const words = (folded) => folded.match(/[\p{L}\p{N}]+/gu) ?? [];
  const ARTICLE_LAST = /^(.*), (the|a|an|la|le|les|l'|un|une|il|lo|gli|i|el|los|las|der|die|das|ein|eine|den|det|de)$/;

  function foldTitle(text) {
    const bare = fold(text).replace(/\([^()]*\)|\[[^[\]]*\]/g, " ").trim(), moved = ARTICLE_LAST.exec(bare);
    const core = words(moved ? `${moved[2]} ${moved[1]}` : bare);
    if (core.length > 1 && ["the", "a", "an"].includes(core[0])) core.shift();
    return { whole: ` ${words(fold(text)).join(" ")} `, core: ` ${core.join(" ")} ` };
  }

  function closeness(wanted, title) {
    const parts = wanted.whole.split(" ").filter(Boolean);
    if (!parts.length || !parts.every((word) => title.whole.includes(word))) return -1;
    if (wanted.whole === title.whole) return 4;
    if (wanted.core === title.core) return 3;
    if (title.core.startsWith(wanted.core.trimEnd())) return 2;
    return Number(parts.every((word) => title.whole.includes(` ${word}`)));
  }

  return { fold, load: (buffer) => Model.open(buffer).catch((e) => fail(`not a usable model: ${e.message}`)) };
})();
