import { runCommand } from '@mezzotint/app';
import { type EngineReport, listEngines, useBackend } from '@mezzotint/backend';
import { Command } from 'commander';

/** Of a name: `onnxruntime:tensorrt`. */
const WIDTH = 20;

const command = new Command('engines').description('Which engines load on this machine, and which one is taken.');

await runCommand(command, async (_flags: object, { say, result }) => {
  const engines = await listEngines({ providers: true });
  const choice = useBackend();
  // List the engines that load, also when the one that was asked for does not.
  const chosen = await choice.then(
    ({ name }) => name,
    () => null,
  );
  for (const engine of engines) for (const line of lines(engine, engine.name === chosen)) say(line);
  const { why } = await choice;
  result({ chosen, why, engines });
});

function lines(engine: EngineReport, chosen: boolean): string[] {
  const mark = `${chosen ? '*' : ' '} ${engine.name.padEnd(WIDTH)}`;
  if (!engine.loads) return [`${mark} does not load: ${engine.reason.split('\n')[0]}`];
  const facts = `${engine.version.padEnd(8)} ${engine.device.padEnd(24)} ${engine.trains ? 'trains' : 'does not train'}`;
  return [`${mark} ${facts}`, ...engine.limits.map((limit) => `${' '.repeat(WIDTH + 3)}${limit}`)];
}
