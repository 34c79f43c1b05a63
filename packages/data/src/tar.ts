import { closeSync, readSync } from 'node:fs';
import { InvalidFileError, readingBudget } from '@mezzotint/core';
import { openPlainFile } from '@mezzotint/core/node';

/** A file inside a tar archive: where its bytes are. */
export interface TarMember {
  readonly name: string;
  /** First byte of its contents in the archive. */
  readonly offset: number;
  readonly size: number;
}

const BLOCK = 512;

/**
 * The files of a tar archive (ustar, GNU and pax long names), in order. Only headers are read, so an archive of any size costs a
 * block a member.
 *
 * @throws InvalidFileError when it is no plain file, a header's checksum is wrong, a member does not end inside the archive,
 *   or there are more members than `readingBudget.folderEntries`
 */
export async function readTar(path: string): Promise<TarMember[]> {
  const { handle, size: total } = openPlainFile(path);
  try {
    const members: TarMember[] = [];
    const read = (at: number, length: number) => {
      const bytes = Buffer.alloc(length);
      if (readSync(handle, bytes, 0, length, at) !== length) {
        throw new InvalidFileError(path, `ends in the middle of a member at byte ${at}`);
      }
      return bytes;
    };
    let longName: string | undefined;
    for (let at = 0; at < total; ) {
      const header = read(at, BLOCK);
      if (header.every((byte) => byte === 0)) break; // two empty blocks end an archive
      checkHeader(path, header, at);
      const size = numberIn(header, 124, 12);
      const offset = at + BLOCK;
      if (!(size >= 0 && offset + size <= total)) {
        throw new InvalidFileError(path, `a member at byte ${at} claims ${size} bytes, beyond the end of the archive`);
      }
      const type = String.fromCharCode(header[156]!);
      if (type === 'L' || type === 'x') {
        if (size > 4 * readingBudget.nameBytes)
          throw new InvalidFileError(path, `a name of ${size} bytes at byte ${at}`);
        const text = read(offset, size).toString('utf8');
        longName = type === 'L' ? text.replace(/\0.*$/s, '') : (paxPath(text) ?? longName);
      } else {
        if (type === '0' || type === '\0') members.push({ name: longName ?? nameIn(header), offset, size });
        if (members.length > readingBudget.folderEntries) {
          throw new InvalidFileError(path, `has more than ${readingBudget.folderEntries} members`);
        }
        longName = undefined;
      }
      at = offset + Math.ceil(size / BLOCK) * BLOCK;
    }
    return members;
  } finally {
    closeSync(handle);
  }
}

/**
 * Bytes of a member, or the first `most` of them.
 *
 * @throws InvalidFileError when it is larger than a picture may be (`readingBudget.imageFileBytes`) or does not end inside the archive
 */
export async function readTarMember(
  path: string,
  { name, offset, size }: TarMember,
  most = Number.POSITIVE_INFINITY,
): Promise<Uint8Array> {
  const wanted = Math.min(size, most);
  if (wanted > readingBudget.imageFileBytes) {
    throw new InvalidFileError(path, `${name} has ${size} bytes, expected at most ${readingBudget.imageFileBytes}`);
  }
  const { handle } = openPlainFile(path);
  try {
    const bytes = Buffer.alloc(wanted);
    if (readSync(handle, bytes, 0, wanted, offset) !== wanted) {
      throw new InvalidFileError(path, `ends in the middle of ${name}`);
    }
    return bytes;
  } finally {
    closeSync(handle);
  }
}

/** The sum of a header's bytes, its own field counted as spaces. POSIX.1-1988, section 10.1.1. */
function checkHeader(path: string, header: Buffer, at: number): void {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : header[i]!;
  if (sum !== numberIn(header, 148, 8)) {
    throw new InvalidFileError(
      path,
      `is no tar archive, or damaged: the checksum of the header at byte ${at} is wrong`,
    );
  }
}

/** An octal number, or GNU's binary form for sizes of 8 GiB and more. */
function numberIn(header: Buffer, at: number, length: number): number {
  if ((header[at]! & 0x80) !== 0) return Number(header.readBigUInt64BE(at + length - 8));
  return Number.parseInt(header.toString('latin1', at, at + length).replace(/[\0 ].*$/s, '') || '0', 8);
}

function nameIn(header: Buffer): string {
  const text = (at: number, length: number) => header.toString('utf8', at, at + length).replace(/\0.*$/s, '');
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? text(345, 155) : '';
  return prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`;
}

/** The path record of a pax header: lines of `<length> <key>=<value>`. */
function paxPath(text: string): string | undefined {
  for (const line of text.split('\n')) {
    const found = /^\d+ path=(.*)$/s.exec(line);
    if (found) return found[1];
  }
  return undefined;
}
