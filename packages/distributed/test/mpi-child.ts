// Run under mpirun by mpi.test.ts: `mpi-child.ts check` or `mpi-child.ts die`.
import { mpi } from '../src/index.js';
import { checkGroup } from './group-checks.js';

const group = await mpi();
if (process.argv[2] === 'die') {
  if (group.rank === 1) group.abort('the disk is full');
  await group.barrier();
} else if (process.argv[2] === 'throw') {
  if (group.rank === 1) throw new Error('a fault of rank 1');
  await group.barrier();
} else {
  const wrong = await checkGroup(group);
  const all = await group.gather(new TextEncoder().encode(wrong.join('\n')));
  if (group.rank === 0) {
    const texts = all!.map((bytes) => new TextDecoder().decode(bytes));
    process.stdout.write(
      `${JSON.stringify({ name: group.name, size: group.size, wrong: texts.filter((text) => text !== '') })}\n`,
    );
  }
  await group.close();
}
