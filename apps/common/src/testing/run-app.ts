import type { Command } from 'commander';
import { type CommandContext, runCommand } from '../index.js';

/** What a user saw. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs an app's command in this process, as a user would type it. */
export async function runApp<F extends object>(
  command: Command,
  body: (flags: F, context: CommandContext) => Promise<void>,
  argv: readonly string[],
): Promise<Outcome> {
  const [out, err] = [capture(process.stdout), capture(process.stderr)];
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    await runCommand(command, body, argv);
    return { code: Number(process.exitCode ?? 0), out: out.text, err: err.text };
  } finally {
    out.release();
    err.release();
    process.exitCode = before;
  }
}

/** Takes what is written to a stream until it is released. */
function capture(stream: NodeJS.WriteStream): { text: string; release(): void } {
  const write = stream.write;
  const captured = {
    text: '',
    release: () => {
      stream.write = write;
    },
  };
  stream.write = ((chunk: string) => {
    captured.text += chunk;
    return true;
  }) as typeof stream.write;
  return captured;
}
