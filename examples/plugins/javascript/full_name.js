// A mapping of a node that keeps a name in two columns and money in cents.

const none = { tag: 'null' };

// The shared columns, each with what makes its value of a local row (`shared`) and what puts it into one (`put`).
let columns = [];
let width = 0;

export const describe = {
  describe() {
    const text = { type: 'string' };
    const texts = { type: 'array', items: text };
    const schema = {
      type: 'object',
      additionalProperties: false,
      required: ['name', 'first', 'last'],
      properties: { name: text, first: text, last: text, cents: texts, own: texts },
    };
    return {
      name: 'full-name',
      version: '0.1.0',
      summary: 'A name in two columns is shared as one, and cents as units',
      configSchema: JSON.stringify(schema),
      facts: [],
    };
  },
};

export const mapping = {
  open({ table, config }) {
    const { name, first, last, cents = [], own = [] } = JSON.parse(config);
    const place = (column) => {
      const at = table.columns.findIndex((known) => known.name === column);
      if (at < 0) throw { code: 'unknown-column', message: `\`${table.name}\` has no such column`, column };
      return at;
    };
    const places = [place(first), place(last)];
    [...cents, ...own].forEach(place);
    width = table.columns.length;
    columns = table.columns.flatMap((column, at) => {
      if (at === places[0]) return [{ column: { ...column, name, kind: 'text' }, ...named(...places) }];
      if (cents.includes(column.name)) return [{ column: { ...column, kind: 'decimal' }, ...counted(at, column.name) }];
      if (at === places[1] || own.includes(column.name)) return [];
      // That it is always the same as the node's column is said, as a mapping may.
      const copy = { ...column, facts: [['copy-of', column.name]] };
      return [{ column: copy, shared: (local) => local[at], put: (value, row) => (row[at] = value) }];
    });
    return { name: table.name, columns: columns.map(({ column }) => column) };
  },

  toShared: (locals) => locals.map((local) => tried(() => columns.map(({ shared }) => shared(local)))),

  toLocal: (puts) =>
    puts.map(({ shared, current }) =>
      tried(() => {
        const row = current ? [...current] : new Array(width).fill(none);
        columns.forEach(({ put }, at) => put(shared[at], row, current));
        return row;
      }),
    ),
};

// A problem is what has a code; anything else is an error of this program.
function tried(make) {
  try {
    return { tag: 'ok', val: make() };
  } catch (problem) {
    if (!problem.code) throw problem;
    return { tag: 'err', val: problem };
  }
}

const text = (value) => (value === undefined ? none : { tag: 'text', val: value });

function named(first, last) {
  // The two parts of a name, or the one that is there.
  const shared = (local) => {
    const parts = [local[first], local[last]].filter(({ tag }) => tag === 'text').map(({ val }) => val);
    return parts.length ? text(parts.join(' ')) : none;
  };
  const put = (value, row, current) => {
    // Where a name is to be divided only the node knows, as long as it is the same.
    if (current && shared(current).val === value.val) return;
    const space = value.tag === 'text' ? value.val.lastIndexOf(' ') : -1;
    [row[first], row[last]] =
      space < 0 ? [value, none] : [text(value.val.slice(0, space)), text(value.val.slice(space + 1))];
  };
  return { shared, put };
}

function counted(at, column) {
  const shared = (local) => {
    const { tag, val } = local[at];
    if (tag === 'null') return none;
    if (tag !== 'integer') throw { code: 'no-cents', message: 'it holds no whole number of cents', column };
    const digits = String(val < 0n ? -val : val).padStart(3, '0');
    return { tag: 'decimal', val: `${val < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}` };
  };
  const put = (value, row) => {
    row[at] = none;
    if (value.tag !== 'decimal') return;
    const number = /^(-?[0-9]+)(?:\.([0-9]*?)0*)?$/.exec(value.val);
    if (!number) throw { code: 'no-number', message: 'the node keeps no such number', column };
    const part = number[2] ?? '';
    if (part.length > 2) throw { code: 'part-of-a-cent', message: 'the node keeps whole cents', column };
    const cents = BigInt(number[1] + part.padEnd(2, '0'));
    if (BigInt.asIntN(64, cents) !== cents) {
      throw { code: 'too-large', message: 'the node keeps cents as a 64-bit integer', column };
    }
    row[at] = { tag: 'integer', val: cents };
  };
  return { shared, put };
}
