import { MezzotintError, printable } from '@mezzotint/core';
import { systemProblem } from '@mezzotint/core/node';
import { type Command, CommanderError } from 'commander';

/** What a command's body is given: a signal that Ctrl-C aborts, and where its one machine-readable line goes. */
export interface CommandContext {
  readonly signal: AbortSignal;
  /** True when the caller asked for the last line as JSON; then everything else goes to standard error. */
  readonly json: boolean;
  /** A line for people. */
  say(line: string): void;
  /** The result: printed as one JSON line with `--json`, else not at all. */
  result(value: object): void;
}

/** Exit codes: bad input or usage. */
export const exitBadInput = 2;
/** Stopped by Ctrl-C, by the shell's convention 128 + SIGINT. */
export const exitInterrupted = 130;

/**
 * Runs an app's command: bad input is one clear message and exit code 2, Ctrl-C aborts the signal (a second one kills),
 * an unforeseen fault is one line and exit code 1 (its stack trace with MEZZOTINT_DEBUG=1).
 */
export async function runCommand<Options extends object>(
  command: Command,
  body: (options: Options, context: CommandContext) => Promise<void>,
  argv: readonly string[] = process.argv.slice(2),
): Promise<void> {
  keepOnWithoutReader();
  const controller = new AbortController();
  const onInterrupt = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) killByItself(name);
    process.stderr.write('\nStopping after this step (Ctrl-C again to stop at once)…\n');
    controller.abort();
  };
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onInterrupt);
  command.option(
    '--json',
    'print the result as one line of JSON; all else goes to standard error (pnpm adds a header: pnpm --silent)',
    false,
  );
  command.exitOverride().configureOutput({ outputError: (text, write) => write(text) });
  try {
    await command.parseAsync([...argv], { from: 'user' });
    const options = command.opts<Options & { json: boolean }>();
    await body(options, {
      signal: controller.signal,
      json: options.json,
      say: (line) => (options.json ? process.stderr : process.stdout).write(`${printable(line)}\n`),
      result: (value) => {
        if (options.json) process.stdout.write(`${JSON.stringify(value)}\n`);
      },
    });
    if (controller.signal.aborted) process.exitCode = exitInterrupted;
  } catch (error) {
    process.exitCode = report(command.name(), error, controller.signal);
  } finally {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onInterrupt);
  }
}

/**
 * Ends at once, as an unhandled signal does. `process.exit` would wait for the native step that an engine's thread is in.
 */
function killByItself(name: NodeJS.Signals): void {
  if (process.stderr.isTTY) process.stderr.write('\u001b[?25h\n'); // The progress bar hides the cursor.
  process.removeAllListeners(name);
  process.kill(process.pid, name);
}

/**
 * A reader that has gone (`train | head`) is no reason to stop work: what is written to its pipe from then on is lost, and
 * nothing else is.
 */
function keepOnWithoutReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (watched.has(stream)) continue;
    watched.add(stream);
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error;
    });
  }
}

const watched = new WeakSet<NodeJS.WriteStream>();

/** Says what went wrong and returns the exit code. */
function report(name: string, error: unknown, signal: AbortSignal): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitBadInput; // Commander has said it.
  if (signal.aborted && (error as Error)?.name === 'AbortError') return exitInterrupted;
  if (process.env.MEZZOTINT_DEBUG === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  if (MezzotintError.isInstance(error)) {
    process.stderr.write(`${name}: ${error.message}\n`);
    return exitBadInput;
  }
  const system = systemText(error);
  if (system !== undefined) {
    process.stderr.write(`${name}: ${printable(system)}\n`);
    return exitBadInput;
  }
  const text = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${name}: internal fault: ${printable(text)} (MEZZOTINT_DEBUG=1 prints where)\n`);
  return 1;
}

function systemText(error: unknown): string | undefined {
  const { code, path } = (error ?? {}) as { code?: string; path?: string };
  const text = systemProblem(code);
  return text === undefined ? undefined : path === undefined ? text : `${path}: ${text}`;
}
