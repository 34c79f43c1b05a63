import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, wholeNumber } from '@mezzotint/app';
import { Command } from 'commander';
import { Contestants } from './contestants.js';
import { measure, type Row } from './measure.js';
import { nameOf, operationsOf, operators } from './operators.js';
import { circumstances, page, percent, table, writePage } from './page.js';

const here = dirname(fileURLToPath(import.meta.url));

interface Flags {
  readonly runs: number;
  readonly python: string;
  readonly write?: string;
}

/** An operator's figures by contestant. */
interface OperatorResult {
  readonly kind: string;
  readonly of: string;
  readonly name: string;
  readonly operations: number;
  /** Milliseconds: medians. */
  readonly inside: number;
  readonly alone: number;
  /** The faster one of ONNX Runtime's own sessions, with constant and with fed weights. */
  readonly session: number;
  readonly constant: number;
  readonly fed: number;
  readonly pytorch: number | null;
  /** The session's time / ours inside of a network. */
  readonly reached: number;
  /** Of the most that anyone reached with any operator in this run. */
  readonly shareOfPeak: number;
}

const goal = 0.85;

const command = new Command('bench:operators')
  .description(
    "Times the large operators of the networks by the engine onnxruntime, by ONNX Runtime's own session of one node, and by PyTorch if there is one.",
  )
  .option('--runs <n>', 'counted runs of each operator, after one warm-up', wholeNumber('--runs', 1), 9)
  .option('--python <program>', 'a Python with PyTorch to compare with', 'python3')
  .option('--write <file>', 'write the table as Markdown, for example docs/performance-operators.md');

await runCommand<Flags>(command, async ({ runs, python, write }, { say, result, signal }) => {
  const contestants = new Contestants();
  const node = (file: string, mode: string) =>
    contestants.enter(mode, process.execPath, [...process.execArgv, join(here, file), mode]);
  try {
    for (const mode of ['constant', 'fed']) await node('operators-session.ts', mode);
    for (const mode of ['inside', 'alone']) await node('operators-engine.ts', mode);
    const named = JSON.stringify(Object.fromEntries(operators.map((operator) => [nameOf(operator), operator])));
    await contestants.enter('pytorch', python, [join(here, '..', 'peers', 'pytorch_operators.py'), named]);
    const sizes = new Map(operators.map((operator) => [nameOf(operator), operationsOf(operator)]));
    const rows = await measure('operators', contestants.entrants, {
      ...{ runs, signal, operations: (job: string) => sizes.get(job)! },
    });
    const found = results(rows);
    for (const one of found) say(text(one));
    const { absent } = contestants;
    for (const { contestant, reason } of absent) say(`${contestant} is not here: ${reason}`);
    const where = circumstances(`pnpm bench:operators --runs ${runs}${write === undefined ? '' : ` --write ${write}`}`);
    if (write !== undefined) writePage(write, markdown(found), say);
    result({ ...where, runs, operators: found, absent });

    function markdown(found: readonly OperatorResult[]): string {
      return page('Performance of single operators', where, [
        `Medians of ${runs} counted runs that take turns; an operator of less than 40 ms is repeated for as long in each. \`inside\``,
        'is the operator as TensorFlow.js on the engine onnxruntime runs it within a network: operands lie as the engine keeps',
        'them and the result stays with it, writing down and looking up the one-operator program included. `alone` uploads',
        "nothing but has operands in TensorFlow.js's order (NHWC), and reads the result as an array. `session` is ONNX Runtime's",
        'own session of one node with default optimizations, weights as constants (packed by it) or as inputs, whichever is',
        'faster. `reached` is the speed of `inside` by that of `session`; the goal is 85 %. The peak is the most operations a',
        'second that anybody reached with any of these operators in this run.',
        '',
        ...table(
          [
            'operator',
            'of',
            '>GFLOP',
            '>inside ms',
            '>alone ms',
            '>session ms',
            '>PyTorch ms',
            '>reached',
            '>GFLOP/s',
            '>of peak',
          ],
          found.map((one) => [
            ...[`${one.kind} ${one.name}`, one.of, (one.operations / 1e9).toFixed(2)],
            ...[one.inside, one.alone].map(milliseconds),
            `${milliseconds(one.session)} (${one.constant <= one.fed ? 'constant' : 'fed'})`,
            one.pytorch === null ? '' : milliseconds(one.pytorch),
            ...[percent(one.reached), gflops(one).toFixed(0), percent(one.shareOfPeak)],
          ]),
        ),
        '',
        `${found.filter((one) => one.reached >= goal).length} of ${found.length} operators reach the goal.`,
        ...absent.map(({ contestant, reason }) => `\n- ${contestant} is not here: ${reason}`),
      ]);
    }
  } finally {
    contestants.stop();
  }
});

function results(rows: readonly Row[]): OperatorResult[] {
  const peak = Math.max(...rows.map(({ gflops }) => gflops));
  return operators.map((operator) => {
    const name = nameOf(operator);
    const median = (contestant: string) =>
      rows.find((row) => row.job === name && row.contestant === contestant)?.timing.median ?? null;
    const [constant, fed] = [median('session, constant')!, median('session, fed')!];
    const inside = median('inside')!;
    const operations = operationsOf(operator);
    const session = Math.min(constant, fed);
    return {
      ...{ kind: operator.kind, of: operator.of, name, operations, inside, alone: median('alone')! },
      ...{ session, constant, fed, pytorch: median('pytorch'), reached: session / inside },
      shareOfPeak: operations / inside / 1e6 / peak,
    };
  });
}

function gflops({ operations, inside }: OperatorResult): number {
  return operations / inside / 1e6;
}

function milliseconds(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}

function text(one: OperatorResult): string {
  const times = [one.inside, one.alone, one.constant, one.fed, one.pytorch ?? Number.NaN].map((t) =>
    milliseconds(t).padStart(7),
  );
  const what = `${one.kind} ${one.name}`.padEnd(52);
  return `${what} ${times.join(' ')} ms  ${percent(one.reached)} of a session, ${gflops(one).toFixed(0)} GFLOP/s`;
}
