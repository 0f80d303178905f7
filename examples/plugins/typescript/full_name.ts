// A mapping of a node that keeps a name in two columns and money in cents.
import type { Put, Result } from 'concord:plugin/mapping@0.1.0';
import type { Column, Context, Problem, Row, Table, Value } from 'concord:plugin/types@0.1.0';

interface Config {
  /** The shared column that the two become. */
  name: string;
  first: string;
  last: string;
  /** Columns of cents, which are shared as decimals of units. */
  cents?: string[];
  /** Columns of which the others know nothing. */
  own?: string[];
}

/** What makes the value of a shared column of a local row, and what puts it into one. */
interface Source {
  shared(local: Row): Value;
  put(value: Value, row: Row, current: Row | undefined): void;
}

const none: Value = { tag: 'null' };

let columns: { column: Column; source: Source }[] = [];
let width = 0;

export const describe: typeof import('concord:plugin/describe@0.1.0') = {
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

export const mapping: typeof import('concord:plugin/mapping@0.1.0') = {
  open({ table, config }: Context): Table {
    const { name, first, last, cents = [], own = [] } = JSON.parse(config) as Config;
    const place = (column: string): number => {
      const at = table.columns.findIndex((known) => known.name === column);
      if (at < 0) throw wrong(column, 'unknown-column', `\`${table.name}\` has no such column`);
      return at;
    };
    const [firstAt, lastAt] = [place(first), place(last)];
    [...cents, ...own].forEach(place);
    width = table.columns.length;
    columns = table.columns.flatMap((column, at) => {
      if (at === firstAt) return [{ column: { ...column, name, kind: 'text' }, source: named(firstAt, lastAt) }];
      if (cents.includes(column.name)) {
        return [{ column: { ...column, kind: 'decimal' }, source: counted(at, column.name) }];
      }
      if (at === lastAt || own.includes(column.name)) return [];
      // That it is always the same as the node's column is said, as a mapping may.
      return [{ column: { ...column, facts: [['copy-of', column.name]] }, source: same(at) }];
    });
    return { name: table.name, columns: columns.map(({ column }) => column) };
  },

  toShared(locals: Row[]): Result<Row, Problem>[] {
    return locals.map((local) => tried(() => columns.map(({ source }) => source.shared(local))));
  },

  toLocal(puts: Put[]): Result<Row, Problem>[] {
    return puts.map(({ shared, current }) =>
      tried(() => {
        const row: Row = current ? [...current] : new Array<Value>(width).fill(none);
        columns.forEach(({ source }, at) => source.put(shared[at]!, row, current));
        return row;
      }),
    );
  },
};

function wrong(column: string, code: string, message: string): Problem {
  return { code, message, column };
}

/** What is thrown is a problem of the row, or an error of this program. */
function tried(make: () => Row): Result<Row, Problem> {
  try {
    return { tag: 'ok', val: make() };
  } catch (thrown) {
    if (thrown instanceof Error) throw thrown;
    return { tag: 'err', val: thrown as Problem };
  }
}

function text(chars: string): Value {
  return { tag: 'text', val: chars };
}

function same(at: number): Source {
  return {
    shared: (local) => local[at]!,
    put: (value, row) => (row[at] = value),
  };
}

function named(first: number, last: number): Source {
  // The two parts of a name, or the one that is there.
  const whole = (local: Row): string | undefined => {
    const parts = [local[first]!, local[last]!].flatMap((value) => (value.tag === 'text' ? [value.val] : []));
    return parts.length ? parts.join(' ') : undefined;
  };
  return {
    shared(local) {
      const name = whole(local);
      return name === undefined ? none : text(name);
    },
    put(value, row, current) {
      const name = value.tag === 'text' ? value.val : undefined;
      // Where a name is to be divided only the node knows, as long as it is the same.
      if (current && whole(current) === name) return;
      const space = name?.lastIndexOf(' ') ?? -1;
      row[first] = name === undefined ? none : text(space < 0 ? name : name.slice(0, space));
      row[last] = name === undefined || space < 0 ? none : text(name.slice(space + 1));
    },
  };
}

function counted(at: number, column: string): Source {
  return {
    shared(local) {
      const value = local[at]!;
      if (value.tag === 'null') return none;
      if (value.tag !== 'integer') throw wrong(column, 'no-cents', 'it holds no whole number of cents');
      // 64 bits: a `bigint`, which is exact.
      const cents = value.val;
      const digits = String(cents < 0n ? -cents : cents).padStart(3, '0');
      return { tag: 'decimal', val: `${cents < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}` };
    },
    put(value, row) {
      row[at] = none;
      if (value.tag !== 'decimal') return;
      const number = /^(-?[0-9]+)(?:\.([0-9]*?)0*)?$/.exec(value.val);
      if (!number) throw wrong(column, 'no-number', 'the node keeps no such number');
      const part = number[2] ?? '';
      if (part.length > 2) throw wrong(column, 'part-of-a-cent', 'the node keeps whole cents');
      const cents = BigInt(number[1] + part.padEnd(2, '0'));
      if (BigInt.asIntN(64, cents) !== cents) {
        throw wrong(column, 'too-large', 'the node keeps cents as a 64-bit integer');
      }
      row[at] = { tag: 'integer', val: cents };
    },
  };
}
