/* Reads a sparserec-np model file (formats 1.x to 3.x, history models) and recommends. No dependencies.

   const model = await sparserec.load(arrayBuffer);  // model.ids[42], model.labels[42]
   model.recommend([3, 17], 10)   // indices of liked items, latest last -> [{ index, score }, ...]
   model.explain(42, [3, 17])     // -> { score, bias, parts: [{ index, share }, ...] }
   FORMAT.md is the specification; sums are done in its order, so scores equal the other readers'. */
"use strict";

const sparserec = (() => {
  const fail = (what) => { throw new Error(what); };

  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
    return n;
  });

  function crc32(bytes) {
    const crc = bytes.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), -1);
    return ((crc ^ -1) >>> 0).toString(16).padStart(8, "0");
  }

  class Container {
    constructor(buffer) {
      if (buffer.byteLength < 8) fail("too short");
      const length = Number(new DataView(buffer).getBigUint64(0, true));
      if (length < 2 || length > Math.min(buffer.byteLength - 8, 1 << 20)) fail("header length");
      const raw = new Uint8Array(buffer.slice(0, 8 + length));
      const text = new TextDecoder("utf-8", { fatal: true }).decode(raw.subarray(8));
      this.entries = JSON.parse(text);
      const metadata = this.entries.__metadata__ ?? {};
      if (metadata.format !== "sparserec-np") fail("of another format");
      if (!/^[123]\.\d+$/.test(metadata.version)) fail(`format version ${metadata.version}, not 1.x to 3.x`);
      const mark = text.indexOf('"header_crc32":"');
      const place = 8 + new TextEncoder().encode(text.slice(0, mark)).length + 16;
      const blank = raw.slice().fill(48, place, place + 8);
      if (mark < 0 || metadata.header_crc32 !== crc32(blank)) fail("checksum of the header");
      this.data = buffer.slice(8 + length);
      if (metadata.data_crc32 !== crc32(new Uint8Array(this.data))) fail("checksum of the data");
      this.model = JSON.parse(metadata.model);
    }

    bytes(name, length) {
      const [begin, end] = this.entries[name]?.data_offsets ?? [0, -1];
      if (end - begin !== length || begin < 0 || end > this.data.byteLength) fail(`tensor ${name}`);
      return new Uint8Array(this.data, begin, length);
    }

    levels(prefix, bits) {
      const view = new DataView(this.bytes(`${prefix}.levels`, 4 << bits).slice().buffer);
      const levels = Float64Array.from({ length: 1 << bits }, (_, i) => view.getFloat32(4 * i, true));
      if (!levels.every((x, i) => Math.abs(x) <= 1e6 && !(x < levels[i - 1]))) fail(`${prefix}.levels`);
      return levels;
    }

    values(prefix, n, bits) {
      const levels = this.levels(prefix, bits);
      const packed = this.bytes(`${prefix}.codes`, Math.ceil((n * bits) / 8));
      return Float64Array.from(unpack(packed, bits, n), (code) => levels[code]);
    }

    /* Strictly ascending keys below `universe`, a BigInt; BigInts themselves where they are wide. */
    monotone(prefix, n, universe, bits) {
      const span = Number(universe >> BigInt(bits));
      const high = this.bytes(`${prefix}.high`, Math.ceil((n + span) / 8));
      const low = unpack(this.bytes(`${prefix}.low`, Math.ceil((n * bits) / 8)), bits, n);
      const wide = universe > 2n ** 53n, step = 2 ** bits;
      const keys = wide ? new BigUint64Array(n) : new Float64Array(n);
      let e = 0;
      for (let byte = 0; byte < high.length; byte++) {
        for (let rest = high[byte]; rest; rest &= rest - 1) {
          if (e === n) fail(`${prefix}.high has too many keys`);
          const upper = 8 * byte + 31 - Math.clz32(rest & -rest) - e;
          keys[e] = wide ? (BigInt(upper) << BigInt(bits)) + BigInt(low[e]) : upper * step + low[e];
          if (e && keys[e] <= keys[e - 1]) fail(`${prefix}.high does not rise`);
          e++;
        }
      }
      if (e !== n || (n && keys[n - 1] >= universe)) fail(`${prefix}.high has wrong keys`);
      return keys;
    }

    async texts(prefix, { width, stored, bytes, deflated }, n) {
      let raw = this.bytes(`${prefix}.texts`, stored);
      if (deflated) {
        const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
        raw = new Uint8Array(await new Response(stream).arrayBuffer());
      }
      if (raw.length !== 2 * n * width + bytes) fail(`${prefix}.texts has another length`);
      const number = (i) => raw.subarray(i * width, i * width + width).reduceRight((a, b) => a * 256 + b, 0);
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      let text = new Uint8Array(0), place = 2 * n * width;
      return Array.from({ length: n }, (_, i) => {
        const shared = number(i), rest = number(n + i);
        if (shared > text.length || place + rest > raw.length) fail(`${prefix}.texts`);
        text = Uint8Array.from([...text.subarray(0, shared), ...raw.subarray(place, (place += rest))]);
        return decoder.decode(text);
      });
    }

    async ids(fields, n) {
      if (fields.kind === "str") return this.texts("item_ids", fields, n);
      const start = BigInt(fields.start), span = BigInt(fields.span);
      const narrow = (id) => (Number.isSafeInteger(Number(id)) ? Number(id) : id);
      if (span === BigInt(n)) return Array.from({ length: n }, (_, i) => narrow(start + BigInt(i)));
      const keys = this.monotone("item_ids", n, span, fields.low_bits);
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
      const { n_items: n, dim, exponent, history_bits: bits, items: table } = layout;
      const { eighths = 8, recency = 0 } = layout;
      for (const [x, least] of [[eighths, 1], [recency, 0]])
        if (!Number.isInteger(x) || x < least || x > 8) fail(`${x} is no number of eighths`);
      Object.assign(self, { size: n, dim, exponent, eighths, recency, bounds: new Uint32Array(dim + 1) });
      self.ids = await file.ids(layout.item_ids, n);
      const labels = layout.labels ? await file.texts("labels", layout.labels, n) : [];
      self.labels = self.ids.map((id, i) => labels[i] || String(id));
      self.bias = file.values("bias", n, layout.bias_bits);
      self.weights = bits ? file.values("history", n, bits) : new Float64Array(n).fill(1);
      const keys = file.monotone("items", table.weights, BigInt(n) * BigInt(dim), table.low_bits);
      self.items = Uint32Array.from(keys, (key) => key % n);
      for (const key of keys) self.bounds[Math.floor(key / n) + 1]++;
      for (let d = 0; d < dim; d++) self.bounds[d + 1] += self.bounds[d];
      self.values = file.values("items", table.weights, table.value_bits);
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

    /* Weights of the items of a history, a Map; their sum over the dimensions; and its scale. */
    compose(history) {
      const ages = [...new Set([...history].reverse())], sums = new Float64Array(this.dim);
      const byAge = ages.map((_, age) => (this.recency ? bend(1 / (age + 1), this.recency) : 1));
      const known = new Map(ages.map((item, age) => [item, this.weights[item] * byAge[age]]));
      this.rows(known.keys(), (d, item, value) => { sums[d] += value * known.get(item); });
      return { known, sums, scale: byAge.reduce((sum, weight) => sum + weight, 0) ** -this.exponent };
    }

    recommend(history, k = 10, exclude = history) {
      const { sums, scale, known } = this.compose(history), left = new Set(exclude), best = [];
      if (!known.size) throw new Error("the history is empty");
      const dots = new Float64Array(this.size);
      sums.map((y) => bend(y, this.eighths)).forEach((z, d) => {
        for (let e = this.bounds[d]; z && e < this.bounds[d + 1]; e++)
          dots[this.items[e]] += this.values[e] * z;
      });
      for (let index = 0; index < this.size; index++) {
        const score = dots[index] * scale + this.bias[index];
        if (left.has(index) || (best.length === k && score <= best[k - 1].score)) continue;
        const place = best.findLastIndex((other) => other.score >= score) + 1;
        best.splice(place, 0, { index, score });
        best.length = Math.min(best.length, k);
      }
      return best;
    }

    explain(index, history) {
      const { known, sums, scale } = this.compose(history), bias = this.bias[index];
      const target = new Float64Array(this.dim), shares = new Float64Array(this.size);
      const stretch = (y) => (this.eighths < 8 ? bend(y, this.eighths) / y || 0 : 1);
      this.rows([index], (d, _, value) => { target[d] = value * stretch(sums[d]); });
      this.rows(known.keys(), (d, item, value) => { shares[item] += known.get(item) * value * target[d]; });
      const parts = [...known.keys()].map((index) => ({ index, share: scale * shares[index] }));
      parts.sort((a, b) => b.share - a.share || a.index - b.index);
      return { score: parts.reduce((sum, part) => sum + part.share, bias), bias, parts };
    }
  }

  return { load: (buffer) => Model.open(buffer).catch((e) => fail(`not a usable model: ${e.message}`)) };
})();
