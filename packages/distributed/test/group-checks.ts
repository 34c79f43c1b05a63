import { TorchGenerator } from '@mezzotint/random';
import type { Group } from '../src/index.js';

/**
 * What every kind of group must do; gives what is wrong. Run by the tests in threads, and by `mpi-child.ts` under mpirun.
 */
export async function checkGroup(group: Group): Promise<string[]> {
  const { rank, size } = group;
  const wrong: string[] = [];
  const same = (what: string, got: ArrayLike<number>, expected: ArrayLike<number>) => {
    const [a, b] = [Array.from(got), Array.from(expected)];
    const at = a.length === b.length ? a.findIndex((x, i) => !Object.is(x, b[i])) : -2;
    if (at !== -1) wrong.push(`${what}: at ${at} expected ${b[at]} of ${b.length}, got ${a[at]} of ${a.length}`);
  };
  const ranks = Array.from({ length: size }, (_, r) => r);
  for (const length of [0, 1, 7, 1500, 100_003]) {
    // The sum in the order of the tree, in float32, of numbers whose sum depends on the order.
    const all = ranks.map((r) => new TorchGenerator(100 + r).randn(length));
    const tree = (from: number, to: number): Float32Array => {
      if (to - from === 1) return all[from]!;
      const half = from + 2 ** Math.ceil(Math.log2(to - from) - 1);
      const [a, b] = [tree(from, half), tree(half, to)];
      return a.map((x, i) => x + b[i]!);
    };
    const sum = length === 0 ? new Float32Array(0) : tree(0, size);
    same(`sum of ${length}`, await group.allReduce(all[rank]!.slice(), 'sum'), sum);
    same(
      `mean of ${length}`,
      await group.allReduce(all[rank]!.slice(), 'mean'),
      sum.map((x) => x / size),
    );
    const largest = Float32Array.from({ length }, (_, i) => Math.max(...all.map((a) => a[i]!)));
    same(`max of ${length}`, await group.allReduce(all[rank]!.slice(), 'max'), largest);
    const counts = ranks.map((r) =>
      r === size - 1 ? length - Math.floor(length / 3) * Math.min(size - 1, 2) : r < 2 ? Math.floor(length / 3) : 0,
    );
    const from = counts.slice(0, rank).reduce((total, n) => total + n, 0);
    same(`part of ${length}`, await group.reduceScatter(all[rank]!, counts), sum.subarray(from, from + counts[rank]!));
  }
  same('sum of int32', await group.allReduce(Int32Array.of(rank, 1), 'sum'), [(size * (size - 1)) / 2, size]);
  same('sum of float64', await group.allReduce(Float64Array.of(2 ** -40, rank), 'sum'), [
    size * 2 ** -40,
    (size * (size - 1)) / 2,
  ]);
  same('max with NaN', await group.allReduce(Float32Array.of(rank === size - 1 ? Number.NaN : 1), 'max'), [Number.NaN]);
  // 1 + 2^-7 is a bfloat16 number, and 1 + 2^-9 is not: it is sent as 1.
  const wire = { wire: 'bfloat16' } as const;
  same(
    'bfloat16, small',
    await group.allReduce(Float32Array.of(1 + 2 ** -7, 1 + 2 ** -9), 'max', wire),
    size === 1 ? [1 + 2 ** -7, Math.fround(1 + 2 ** -9)] : [1 + 2 ** -7, 1],
  );
  const many = new Float32Array(5000).fill(3 + 2 ** -7);
  same(
    'bfloat16, large',
    await group.allReduce(many, 'mean', wire),
    new Float32Array(5000).fill(size === 1 ? 3 + 2 ** -7 : 3),
  );
  for (const root of ranks) {
    const own = Uint8Array.from({ length: 3 * rank + 1 }, (_, i) => 10 * rank + i);
    const got = await group.gather(own, root);
    if ((got === undefined) !== (rank !== root)) wrong.push(`gather at ${root}: got ${got} on ${rank}`);
    for (const [r, part] of (got ?? []).entries()) {
      same(
        `gathered from ${r}`,
        part,
        Array.from({ length: 3 * r + 1 }, (_, i) => 10 * r + i),
      );
    }
    const sent = Float64Array.of(rank === root ? 0.1 : 0, rank);
    same(`broadcast from ${root}`, await group.broadcast(sent, root), [0.1, root]);
  }
  const gathered = await group.allGather(new Float32Array(rank === 0 ? 0 : 4000).fill(rank));
  for (const [r, part] of gathered.entries()) same(`of ${r}`, part, new Float32Array(r === 0 ? 0 : 4000).fill(r));
  // Several calls under way, and an event loop that turns.
  let turns = 0;
  const clock = setInterval(() => turns++, 0);
  const several = [1, 2, 3].map((k) => group.allReduce(new Float32Array(300_000).fill(k * (rank + 1)), 'sum'));
  for (const [i, values] of (await Promise.all(several)).entries()) {
    same(`one of several`, values.subarray(0, 2), Array(2).fill((i + 1) * ((size * (size + 1)) / 2)));
  }
  await group.barrier();
  await new Promise((resolve) => setTimeout(resolve, 5));
  clearInterval(clock);
  if (turns === 0) wrong.push('the event loop did not turn');
  return wrong;
}
