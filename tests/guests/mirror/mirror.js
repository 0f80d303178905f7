// A resolver in JavaScript that answers the latest version as it came, or does what the version's note says.
const problem = { code: 'bad-note', message: 'the note is poison', column: 'note', hint: 'a hint' };

export const describe = {
  describe: () => ({
    name: 'mirror',
    version: '0.1.0',
    summary: 'What it is given, as it is',
    configSchema: '{"type": "object"}',
    facts: [],
  }),
};

export const resolver = {
  open(context) {
    const { opened } = JSON.parse(context.config);
    if (opened === 'problem') throw problem;
    if (opened === 'error') throw new Error('an error on purpose');
    return { recorded: [], facts: [] };
  },

  resolve: (conflicts) => conflicts.map(answer),
};

function answer(conflict) {
  const row = conflict.versions[conflict.latest].row;
  if (!row) return { tag: 'ok', val: { tag: 'delete' } };
  const note = row[1].tag === 'text' ? row[1].val : '';
  if (note === 'problem') return { tag: 'err', val: problem };
  if (note === 'error') throw new Error('an error on purpose');
  if (note === 'endless') for (;;);
  if (note === 'memory') for (const kept = []; ; ) kept.push(new Uint8Array(1 << 20).fill(1));
  return { tag: 'ok', val: { tag: 'merged', val: row.map(note === 'more' ? more : copy) } };
}

// A value of its own, of what came.
function copy(value) {
  return value.tag === 'bytes' ? { tag: 'bytes', val: Uint8Array.from(value.val) } : { ...value };
}

// A BigInt; tools that make a number of it cannot add this.
function more(value) {
  return value.tag === 'integer' && value.val > 1n ? { tag: 'integer', val: value.val + 1n } : copy(value);
}
