import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { InvalidFileError, MezzotintError, parseJson, quoted } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';

const LOCK = '.lock';
/** A lock is a line of JSON. */
const MAX_LOCK_BYTES = 4096;

/** Who holds a folder. A process is named by its number and by when it began, since numbers are used again. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  /** The process's start in the kernel's ticks since boot; null where the system does not tell (not Linux). */
  readonly started: string | null;
}

/** A folder that no other process may write to until it is released. */
export interface FolderLock {
  /** Gives the folder back; also done when the process ends. May be called more than once. */
  release(): void;
}

/** Folders that this process holds, and how many hold each. */
const held = new Map<string, number>();
let watchesExit = false;

/**
 * Keeps other processes from writing to a folder, which is made when it is not there. The lock of a process that is no
 * longer alive (killed, power lost) is taken over. Inside one process a folder may be locked more than once; it is free
 * when each lock is released.
 *
 * @throws MezzotintError `MEZZOTINT_FOLDER_LOCKED` when another process holds it, with its number and machine
 */
export function lockFolder(folder: string): FolderLock {
  const path = resolve(folder);
  mkdirSync(path, { recursive: true });
  if (!held.has(path)) take(path);
  held.set(path, (held.get(path) ?? 0) + 1);
  if (!watchesExit) {
    watchesExit = true;
    process.on('exit', () => {
      for (const name of held.keys()) remove(name);
    });
  }
  let released = false;
  return {
    release: () => {
      if (released) return;
      released = true;
      const left = held.get(path)! - 1;
      if (left > 0) {
        held.set(path, left);
        return;
      }
      held.delete(path);
      remove(path);
    },
  };
}

function take(folder: string): void {
  const lock = join(folder, LOCK);
  const mine: Holder = { pid: process.pid, host: hostname(), started: startOf(process.pid) };
  // Written whole under another name and then linked: a lock is never seen half written, and only one link succeeds.
  const own = `${lock}.${randomBytes(6).toString('hex')}.tmp`;
  writeFileSync(own, `${JSON.stringify(mine)}\n`, { flag: 'wx' });
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        linkSync(own, lock);
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
          // A file system without hard links.
          writeFileSync(lock, `${JSON.stringify(mine)}\n`, { flag: 'wx' });
          return;
        }
      }
      const holder = read(lock);
      if (holder === undefined) continue; // Released meanwhile.
      if (isAlive(holder)) throw isLocked(folder, holder);
      setAside(lock, holder);
    }
    throw isLocked(folder, undefined);
  } finally {
    rmSync(own, { force: true });
  }
}

/** Removes the lock of a dead process, unless another process has put its own there since it was read. */
function setAside(lock: string, dead: Holder): void {
  const aside = `${lock}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    renameSync(lock, aside);
    const moved = read(aside);
    if (moved !== undefined && JSON.stringify(moved) !== JSON.stringify(dead)) linkSync(aside, lock);
  } catch {
    // Another process was first; the next look says who it is.
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Removes the lock of this process. */
function remove(folder: string): void {
  const lock = join(folder, LOCK);
  try {
    if (read(lock)?.pid === process.pid) rmSync(lock, { force: true });
  } catch {
    // A folder that was removed meanwhile, or a disk that is gone: no lock is left there.
  }
}

/** Who holds a lock; undefined when there is none. A lock that cannot be read is of nobody. */
function read(lock: string): Holder | undefined {
  let text: string;
  try {
    text = readPlainText(lock, MAX_LOCK_BYTES);
  } catch (error) {
    if (InvalidFileError.isInstance(error) && (error.cause as NodeJS.ErrnoException)?.code === 'ENOENT')
      return undefined;
    throw error;
  }
  try {
    const { pid, host, started } = parseJson(text) as Holder;
    if (Number.isSafeInteger(pid) && pid > 0 && typeof host === 'string') {
      return { pid, host, started: typeof started === 'string' ? started : null };
    }
  } catch {
    // Damaged: of nobody.
  }
  return { pid: 0, host: '', started: text.slice(0, 100) };
}

function isAlive({ pid, host, started }: Holder): boolean {
  if (pid === 0) return false;
  if (host !== hostname()) return true; // Another machine's processes cannot be asked.
  if (pid === process.pid && started === startOf(pid)) return true; // Another thread, or another copy of this package.
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = startOf(pid);
  return started === null || now === null || now === started;
}

/** When a process began: field 22 of Linux's /proc/<pid>/stat, behind the name in parentheses. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function isLocked(folder: string, holder: Holder | undefined): MezzotintError {
  const who = holder === undefined ? 'other processes' : `process ${holder.pid} on ${quoted(holder.host)}`;
  return new MezzotintError(
    'MEZZOTINT_FOLDER_LOCKED',
    `${folder}: ${who} writes there. Wait until it has ended, or choose another folder. ` +
      `If it is gone, remove ${join(folder, LOCK)}`,
    { folder, pid: holder?.pid, host: holder?.host },
  );
}
