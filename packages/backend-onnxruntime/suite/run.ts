// Runs the specs that tfjs-core ships on the engines named (all when none is): `suite [engine...] [--filter=TEXT] [--json]`.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundleSpecs, ENGINES, type Engine } from './bundle.js';
import { count, type KnownFailure, problemsOf, type SpecResult } from './report.js';

const folder = dirname(dirname(fileURLToPath(import.meta.url)));
const scratch = join(folder, 'node_modules', '.suite');
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const filter = flags.find((flag) => flag.startsWith('--filter='))?.slice('--filter='.length);
const json = flags.includes('--json');
const unknown = flags.filter((flag) => flag !== '--json' && !flag.startsWith('--filter='));
if (unknown.length > 0) throw new Error(`expected --json or --filter=TEXT, got ${unknown.join(' ')}`);

const engines = chosen(process.argv.slice(2).filter((argument) => !argument.startsWith('--')));
const known = JSON.parse(readFileSync(join(folder, 'suite', 'known-failures.json'), 'utf8')) as KnownFailure[];

const results: Partial<Record<Engine, readonly SpecResult[]>> = {};
for (const engine of engines) results[engine] = await run(engine);
const { onnxruntime: ours, ...others } = results;
const problems = ours === undefined || filter !== undefined ? [] : problemsOf(ours, known, others);
const failures = (ours ?? []).filter(({ outcome }) => outcome === 'failed');

if (json) {
  const engineCounts = Object.entries(results).map(([engine, specs]) => ({ engine, ...count(specs) }));
  console.log(JSON.stringify({ engines: engineCounts, failures, known, problems }, null, 2));
} else {
  console.log('engine       passed  failed  skipped');
  for (const [engine, specs] of Object.entries(results)) {
    const { passed, failed, skipped } = count(specs);
    const cell = (value: number, width: number): string => String(value).padStart(width);
    console.log(`${engine.padEnd(11)}${cell(passed, 8)}${cell(failed, 8)}${cell(skipped, 9)}`);
  }
  for (const { name, reason = '' } of failures) {
    const why = known.find((failure) => failure.name === name)?.reason;
    console.log(
      `\nfails on onnxruntime: ${name}\n  ${why ?? reason.split('\n').slice(0, 3).join('\n  ').slice(0, 600)}`,
    );
  }
  for (const problem of problems) console.log(`\nproblem: ${problem}`);
}
process.exitCode = problems.length === 0 ? 0 : 1;

function chosen(names: readonly string[]): readonly Engine[] {
  const wrong = names.filter((name) => !ENGINES.some((engine) => engine === name));
  if (wrong.length > 0) throw new Error(`expected engines of ${ENGINES.join(', ')}, got ${wrong.join(', ')}`);
  return names.length === 0 ? ENGINES : ENGINES.filter((engine) => names.includes(engine));
}

/** Bundles the specs with an engine and runs them in a process of their own. */
async function run(engine: Engine): Promise<readonly SpecResult[]> {
  mkdirSync(scratch, { recursive: true });
  const bundle = join(scratch, `${engine}.mjs`);
  const report = join(scratch, `${engine}.json`);
  rmSync(report, { force: true });
  await bundleSpecs(folder, engine, bundle);
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const script = join(folder, 'suite', 'specs.ts');
  const parameters = ['--import', tsx, script, bundle, report, ...(filter === undefined ? [] : [filter])];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, parameters, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) {
    throw new Error(
      `the specs on ${engine} ended with ${signal ?? status}:\n${stdout.slice(-2000)}\n${stderr.slice(-4000)}`,
    );
  }
  return JSON.parse(readFileSync(report, 'utf8')) as SpecResult[];
}
