import { writeSync } from 'node:fs';
import { MezzotintError } from '@mezzotint/core';
import { type ProcessPlace, processPlace } from './environment.js';
import { type Group, TransportGroup } from './group.js';
import { loadMpi, type MpiLibrary, THREAD_FUNNELED } from './mpi-library.js';
import { single } from './single.js';
import type { Transport } from './transport.js';

/** How the group of an MPI job is made. */
export interface MpiOptions {
  /** The library; MEZZOTINT_MPI_LIBRARY, else that of the `mpirun` on the path, else the usual names, when absent. */
  readonly library?: string;
}

let joined: Promise<Group> | undefined;

/**
 * The group of all processes that `mpirun` or `srun` started. Loads koffi and the MPI library; Open MPI 3 or later, and what has
 * MPICH's ABI. There is one such group in a process, whose main thread has to make every call.
 *
 * @throws MezzotintError `MEZZOTINT_NO_MPI` without koffi or a library, and when launcher and library are of different makers
 */
export function mpi(options: MpiOptions = {}): Promise<Group> {
  joined ??= join(options).catch((error) => {
    joined = undefined;
    throw error;
  });
  return joined;
}

/** The group of the job that this process belongs to: `mpi()` where a launcher started several processes, else `single()`. */
export async function openGroup(options: MpiOptions = {}): Promise<Group> {
  const place = processPlace();
  if (place === undefined || place.size === 1 || place.launcher === 'Kubernetes') return single();
  return mpi(options);
}

async function join({ library }: MpiOptions): Promise<Group> {
  const place = processPlace();
  // V8 and Node handle these signals themselves; without this Open MPI would take SIGSEGV, which WebAssembly needs.
  process.env.OMPI_MCA_opal_signal ??= '6';
  const loaded = await loadMpi(place, library);
  const transport = new Mpi(loaded);
  checkPlace(transport, loaded, place);
  return new TransportGroup(transport.version, transport);
}

/** A library that sees other processes than its launcher started is of another maker: each process would be alone. */
function checkPlace(transport: Mpi, { path }: MpiLibrary, place: ProcessPlace | undefined): void {
  if (place === undefined || place.size === transport.size) return;
  const hint =
    place.launcher === 'Slurm'
      ? 'start with srun --mpi=pmix (or pmi2), or with mpirun'
      : 'start with the mpirun of that library, or name the library of the launcher by MEZZOTINT_MPI_LIBRARY';
  throw new MezzotintError(
    'MEZZOTINT_NO_MPI',
    `mpi: ${place.launcher} started ${place.size} processes, but ${transport.version} (${path}) sees ${transport.size}: ${hint}.`,
    { place },
  );
}

/** Milliseconds of waiting in which every turn of the event loop asks for the end; afterwards a timer does. */
const EAGER = 2;

/** MPI's calls that return at once, and `MPI_Test` in turns with the event loop until they are done. */
class Mpi implements Transport {
  readonly rank: number;
  readonly size: number;
  readonly version: string;
  readonly #library: MpiLibrary;
  readonly #onExit = (code: number) => this.#abort(code === 0 ? 1 : code);
  readonly #onFault = (error: Error) => {
    writeSync(2, `rank ${this.rank} of ${this.size} ends the job: ${error?.message ?? error}\n`);
  };
  #closed = false;

  constructor(library: MpiLibrary) {
    this.#library = library;
    const { call, constants } = library;
    const number = new Int32Array(1);
    call.MPI_Initialized(number);
    if (number[0] === 0) this.#check('MPI_Init_thread', call.MPI_Init_thread(null, null, THREAD_FUNNELED, number));
    this.#check('MPI_Comm_set_errhandler', call.MPI_Comm_set_errhandler(constants.commWorld, constants.errorsReturn));
    call.MPI_Comm_rank(constants.commWorld, number);
    this.rank = number[0]!;
    call.MPI_Comm_size(constants.commWorld, number);
    this.size = number[0]!;
    const text = Buffer.alloc(8192);
    call.MPI_Get_library_version(text, number);
    this.version = text.toString('utf8', 0, number[0]).split(/[,\n]/)[0]!.replace(/\s+/g, ' ').trim();
    // A process that ends before the others have finished would leave them waiting.
    process.on('uncaughtExceptionMonitor', this.#onFault);
    process.on('exit', this.#onExit);
  }

  exchangeParts(bytes: Uint8Array, counts: readonly number[], into: Uint8Array): Promise<void> {
    const { byte, commWorld } = this.#library.constants;
    const [sent, got] = [Int32Array.from(counts), new Int32Array(this.size).fill(counts[this.rank]!)];
    const [from, to] = [startsOf(sent), startsOf(got)];
    return this.#start('MPI_Ialltoallv', [bytes, sent, from, byte, into, got, to, byte, commWorld]);
  }

  allGather(bytes: Uint8Array, into: Uint8Array, counts: readonly number[]): Promise<void> {
    const { byte, commWorld } = this.#library.constants;
    const got = Int32Array.from(counts);
    return this.#start('MPI_Iallgatherv', [bytes, bytes.length, byte, into, got, startsOf(got), byte, commWorld]);
  }

  gather(bytes: Uint8Array, into: Uint8Array | undefined, counts: readonly number[], root: number): Promise<void> {
    const { byte, commWorld } = this.#library.constants;
    const got = Int32Array.from(counts);
    const at = [into ?? null, got, startsOf(got), byte];
    return this.#start('MPI_Igatherv', [bytes, bytes.length, byte, ...at, root, commWorld]);
  }

  broadcast(bytes: Uint8Array, root: number): Promise<void> {
    const { byte, commWorld } = this.#library.constants;
    return this.#start('MPI_Ibcast', [bytes, bytes.length, byte, root, commWorld]);
  }

  barrier(): Promise<void> {
    return this.#start('MPI_Ibarrier', [this.#library.constants.commWorld]);
  }

  abort(reason: string): void {
    writeSync(2, `rank ${this.rank} of ${this.size} ends the job: ${reason}\n`);
    this.#abort(1);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.barrier();
    this.#closed = true;
    process.off('uncaughtExceptionMonitor', this.#onFault);
    process.off('exit', this.#onExit);
    this.#check('MPI_Finalize', this.#library.call.MPI_Finalize());
  }

  #abort(code: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#library.call.MPI_Abort(this.#library.constants.commWorld, code);
  }

  /** Calls, and waits for the end. What is in `args` stays alive until then, as MPI reads and writes it. */
  async #start(name: 'MPI_Ibarrier' | (`MPI_I${string}` & keyof MpiLibrary['call']), args: unknown[]): Promise<void> {
    const { call, constants } = this.#library;
    const request = new BigInt64Array(1);
    const done = new Int32Array(1);
    this.#check(name, call[name](...args, request));
    const start = performance.now();
    for (;;) {
      this.#check('MPI_Test', call.MPI_Test(request, done, constants.statusIgnore));
      if (done[0] !== 0) return keepAlive(args);
      await (performance.now() - start < EAGER ? turn() : soon());
    }
  }

  #check(name: string, code: number): void {
    if (code === 0) return;
    const text = Buffer.alloc(1024);
    const length = new Int32Array(1);
    this.#library.call.MPI_Error_string(code, text, length);
    throw new MezzotintError('MEZZOTINT_MPI', `${name}: ${text.toString('utf8', 0, length[0])}`, { code });
  }
}

/** A use of values, so that they live until here. */
function keepAlive(values: unknown[]): void {
  values.length = 0;
}

/** Where parts that lie one after the other begin. */
function startsOf(counts: Int32Array): Int32Array {
  const starts = new Int32Array(counts.length);
  for (let i = 1; i < counts.length; i++) starts[i] = starts[i - 1]! + counts[i - 1]!;
  return starts;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function soon(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
