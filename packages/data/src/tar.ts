import { open } from 'node:fs/promises';
import { InvalidFileError } from '@mezzotint/core';

/** A file inside a tar archive: where its bytes are. */
export interface TarMember {
  readonly name: string;
  /** First byte of its contents in the archive. */
  readonly offset: number;
  readonly size: number;
}

const BLOCK = 512;
/** Longest name that a header may announce. */
const MOST_NAME = 4096;

/**
 * The files of a tar archive (ustar, GNU and pax long names), in order. Only headers are read, so an archive of any size costs a
 * block a member.
 *
 * @throws InvalidFileError when a header's checksum is wrong, or a member does not end inside the archive
 */
export async function readTar(path: string): Promise<TarMember[]> {
  const file = await open(path);
  try {
    const { size: total } = await file.stat();
    const members: TarMember[] = [];
    const read = async (at: number, length: number) => {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, at);
      if (bytesRead !== length) throw new InvalidFileError(path, `ends in the middle of a member at byte ${at}`);
      return bytes;
    };
    let longName: string | undefined;
    for (let at = 0; at < total; ) {
      const header = await read(at, BLOCK);
      if (header.every((byte) => byte === 0)) break; // two empty blocks end an archive
      checkHeader(path, header, at);
      const size = numberIn(header, 124, 12);
      const offset = at + BLOCK;
      if (!(size >= 0 && offset + size <= total)) {
        throw new InvalidFileError(path, `a member at byte ${at} claims ${size} bytes, beyond the end of the archive`);
      }
      const type = String.fromCharCode(header[156]!);
      if (type === 'L' || type === 'x') {
        if (size > MOST_NAME * 4) throw new InvalidFileError(path, `a name of ${size} bytes at byte ${at}`);
        const text = (await read(offset, size)).toString('utf8');
        longName = type === 'L' ? text.replace(/\0.*$/s, '') : (paxPath(text) ?? longName);
      } else {
        if (type === '0' || type === '\0') members.push({ name: longName ?? nameIn(header), offset, size });
        longName = undefined;
      }
      at = offset + Math.ceil(size / BLOCK) * BLOCK;
    }
    return members;
  } finally {
    await file.close();
  }
}

/** Bytes of a member. */
export async function readTarMember(path: string, { name, offset, size }: TarMember): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const bytes = Buffer.alloc(size);
    const { bytesRead } = await file.read(bytes, 0, size, offset);
    if (bytesRead !== size) throw new InvalidFileError(path, `ends in the middle of ${name}`);
    return bytes;
  } finally {
    await file.close();
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
