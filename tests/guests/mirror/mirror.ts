// A resolver in TypeScript that answers the latest version as it came, or does what the version's note says.
import type { Conflict, Resolution, Result } from 'concord:plugin/resolver@0.1.0';
import type { Context, Problem, Value } from 'concord:plugin/types@0.1.0';

const problem: Problem = { code: 'bad-note', message: 'the note is poison', column: 'note', hint: 'a hint' };

export const describe: typeof import('concord:plugin/describe@0.1.0') = {
  describe: () => ({
    name: 'mirror',
    version: '0.1.0',
    summary: 'What it is given, as it is',
    configSchema: '{"type": "object"}',
    facts: [],
  }),
};

export const resolver: typeof import('concord:plugin/resolver@0.1.0') = {
  open(context: Context) {
    const { opened } = JSON.parse(context.config) as { opened?: string };
    if (opened === 'problem') throw problem;
    if (opened === 'error') throw new Error('an error on purpose');
    return { recorded: [], facts: [] };
  },

  resolve: (conflicts: Conflict[]): Result<Resolution, Problem>[] => conflicts.map(answer),
};

function answer(conflict: Conflict): Result<Resolution, Problem> {
  const row = conflict.versions[conflict.latest]?.row;
  if (!row) return { tag: 'ok', val: { tag: 'delete' } };
  const note = row[1]?.tag === 'text' ? row[1].val : '';
  if (note === 'problem') return { tag: 'err', val: problem };
  if (note === 'error') throw new Error('an error on purpose');
  if (note === 'problem, thrown') throw problem;
  if (note === 'endless') for (;;);
  if (note === 'memory') for (const kept: Uint8Array[] = []; ; ) kept.push(new Uint8Array(1 << 20).fill(1));
  return { tag: 'ok', val: { tag: 'merged', val: row.map(note === 'more' ? more : copy) } };
}

// A value of its own, of what came.
function copy(value: Value): Value {
  return value.tag === 'bytes' ? { tag: 'bytes', val: Uint8Array.from(value.val) } : { ...value };
}

function more(value: Value): Value {
  return value.tag === 'integer' && value.val > 1n ? { tag: 'integer', val: value.val + 1n } : copy(value);
}
