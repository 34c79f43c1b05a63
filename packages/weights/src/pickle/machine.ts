import { readingBudget } from '@mezzotint/core';
import type { ByteSource } from '../bytes/byte-source.js';
import { NeedBytes, PickleCursor } from './cursor.js';
import { PickleGlobal, PickleObject } from './values.js';

/** What the values of a pickle mean. Nothing of a pickle is executed: these functions say what is known, and that is all. */
export interface PickleMeaning {
  /** True for a global that is understood; others are listed as refused. */
  isKnown(global: PickleGlobal): boolean;
  /** The value that calling a known global stands for; undefined leaves it an uncalled PickleObject. */
  call(global: PickleGlobal, args: readonly unknown[]): unknown;
  /** The value that a persistent id stands for. Throws an InvalidFileError where none is expected. */
  persistent(id: unknown): unknown;
}

/** What a pickle holds. Lists and tuples are arrays, dicts are Maps, sets are arrays. */
export interface Pickle {
  readonly value: unknown;
  /** Globals that are not understood, each once, as `module.name`. */
  readonly refused: readonly string[];
  /** Offset after the STOP opcode. */
  readonly end: number;
}

/** Bytes fetched at a time. */
const WINDOW = 1 << 16;

/** Longest module or name of a global. */
const MAX_GLOBAL_LENGTH = 512;

/** Most globals that are listed as refused. */
const MAX_REFUSED = 10_000;

/**
 * Reads a pickle (protocols 0 to 5) from `start` by interpreting its instructions without executing any: objects become
 * their ingredients. Every instruction that can run code merely records what it names.
 * Throws an InvalidFileError for instructions outside the allow-list and for streams that do not add up.
 */
export async function readPickle(source: ByteSource, start: number, meaning: PickleMeaning): Promise<Pickle> {
  const cursor = new PickleCursor(source.name, source.size, start);
  const machine = new Machine(cursor, meaning);
  for (;;) {
    const missing = machine.run();
    if (missing === undefined) return machine.result();
    const length = Math.min(Math.max(missing - cursor.position, WINDOW), source.size - cursor.position);
    cursor.window(await source.read(cursor.position, length));
  }
}

class Machine {
  readonly #cursor: PickleCursor;
  readonly #meaning: PickleMeaning;
  readonly #stack: unknown[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  readonly #refused = new Set<string>();
  #containers = 0;
  #instructions = 0;
  #stopped = false;

  constructor(cursor: PickleCursor, meaning: PickleMeaning) {
    this.#cursor = cursor;
    this.#meaning = meaning;
  }

  /** Runs until STOP (undefined) or until bytes up to the returned offset are needed. */
  run(): number | undefined {
    try {
      while (!this.#stopped) {
        if (++this.#instructions > readingBudget.pickleInstructions) {
          this.#fail(`it has more than ${readingBudget.pickleInstructions} instructions`);
        }
        this.#cursor.begin();
        this.#step(this.#cursor.u8());
        this.#cursor.end();
      }
      return undefined;
    } catch (signal) {
      if (signal instanceof NeedBytes) return signal.end;
      throw signal;
    }
  }

  result(): Pickle {
    return { value: this.#stack[0], refused: [...this.#refused], end: this.#cursor.position };
  }

  /** One instruction: reads all its arguments first, so that it can be run again, then acts. */
  #step(opcode: number): void {
    switch (opcode) {
      // Framing.
      case 0x80: // PROTO
        if (this.#cursor.u8() > 5) this.#fail('its protocol is newer than 5');
        return;
      case 0x95: // FRAME
        this.#cursor.length();
        return;
      case 0x2e: // STOP
        if (this.#stack.length !== 1 || this.#marks.length > 0) this.#fail('it stops with values left over');
        this.#stopped = true;
        return;

      // The stack and the memo.
      case 0x28: // MARK
        if (this.#marks.length >= readingBudget.pickleValues) this.#fail('it marks its stack over and over');
        this.#marks.push(this.#stack.length);
        return;
      case 0x30: // POP
        this.#pop();
        return;
      case 0x31: // POP_MARK
        this.#popToMark();
        return;
      case 0x32: // DUP
        this.#push(this.#top());
        return;
      case 0x70: // PUT
        this.#keep(this.#cursor.decimal());
        return;
      case 0x71: // BINPUT
        this.#keep(this.#cursor.u8());
        return;
      case 0x72: // LONG_BINPUT
        this.#keep(this.#cursor.u32());
        return;
      case 0x94: // MEMOIZE
        this.#keep(this.#memo.size);
        return;
      case 0x67: // GET
        this.#push(this.#recall(this.#cursor.decimal()));
        return;
      case 0x68: // BINGET
        this.#push(this.#recall(this.#cursor.u8()));
        return;
      case 0x6a: // LONG_BINGET
        this.#push(this.#recall(this.#cursor.u32()));
        return;

      // Constants and numbers.
      case 0x4e: // NONE
        this.#push(null);
        return;
      case 0x88: // NEWTRUE
        this.#push(true);
        return;
      case 0x89: // NEWFALSE
        this.#push(false);
        return;
      case 0x49: // INT
        this.#push(this.#cursor.textInteger());
        return;
      case 0x4c: // LONG
        this.#push(this.#cursor.textInteger());
        return;
      case 0x46: // FLOAT
        this.#push(Number(this.#cursor.line()));
        return;
      case 0x4a: // BININT
        this.#push(this.#cursor.u32() | 0);
        return;
      case 0x4b: // BININT1
        this.#push(this.#cursor.u8());
        return;
      case 0x4d: // BININT2
        this.#push(this.#cursor.take(2).getUint16(0, true));
        return;
      case 0x8a: // LONG1
        this.#push(this.#cursor.integer(this.#cursor.u8()));
        return;
      case 0x8b: // LONG4
        this.#push(this.#cursor.integer(this.#cursor.u32()));
        return;
      case 0x47: // BINFLOAT
        this.#push(this.#cursor.take(8).getFloat64(0, false));
        return;

      // Text and bytes.
      case 0x56: // UNICODE
        this.#push(this.#cursor.line());
        return;
      case 0x8c: // SHORT_BINUNICODE
        this.#push(this.#cursor.text(this.#cursor.u8()));
        return;
      case 0x58: // BINUNICODE
        this.#push(this.#cursor.text(this.#cursor.u32()));
        return;
      case 0x8d: // BINUNICODE8
        this.#push(this.#cursor.text(this.#cursor.length()));
        return;
      case 0x55: // SHORT_BINSTRING, Python 2
        this.#push(this.#cursor.latin(this.#cursor.u8()));
        return;
      case 0x54: // BINSTRING, Python 2
        this.#push(this.#cursor.latin(this.#cursor.u32()));
        return;
      case 0x43: // SHORT_BINBYTES
        this.#push(this.#cursor.byteString(this.#cursor.u8()));
        return;
      case 0x42: // BINBYTES
        this.#push(this.#cursor.byteString(this.#cursor.u32()));
        return;
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        this.#push(this.#cursor.byteString(this.#cursor.length()));
        return;

      // Containers.
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
      case 0x8f: // EMPTY_SET
        this.#push(this.#contained([]));
        return;
      case 0x7d: // EMPTY_DICT
        this.#push(this.#contained(new Map()));
        return;
      case 0x6c: // LIST
      case 0x74: // TUPLE
      case 0x91: // FROZENSET
        this.#push(this.#contained(this.#popToMark()));
        return;
      case 0x64: // DICT
        this.#push(this.#setItems(this.#contained(new Map()), this.#popToMark()));
        return;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        this.#push(this.#contained(this.#popMany(opcode - 0x84)));
        return;
      case 0x61: // APPEND
        this.#append([this.#pop()]);
        return;
      case 0x65: // APPENDS
      case 0x90: // ADDITEMS
        this.#append(this.#popToMark());
        return;
      case 0x73: // SETITEM
        this.#addItems(this.#popMany(2));
        return;
      case 0x75: // SETITEMS
        this.#addItems(this.#popToMark());
        return;

      // What would run code elsewhere, and here is only written down.
      case 0x63: // GLOBAL
        this.#push(this.#global(this.#cursor.line(), this.#cursor.line()));
        return;
      case 0x93: {
        // STACK_GLOBAL
        const [module, name] = this.#popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string') this.#fail('a global has no name');
        this.#push(this.#global(module as string, name as string));
        return;
      }
      case 0x52: // REDUCE
      case 0x81: {
        // NEWOBJ
        const [callable, args] = this.#popMany(2);
        this.#push(this.#call(callable, args));
        return;
      }
      case 0x92: {
        // NEWOBJ_EX
        const [callable, args] = this.#popMany(3);
        this.#push(this.#call(callable, args));
        return;
      }
      case 0x62: {
        // BUILD
        const state = this.#pop();
        const object = this.#top();
        if (object instanceof PickleObject) object.state = state;
        return; // Attributes of a dict or list (torch's `_metadata`) say nothing about the numbers.
      }
      case 0x51: // BINPERSID
        this.#push(this.#meaning.persistent(this.#pop()));
        return;
      default:
        this.#fail(
          `the instruction 0x${opcode.toString(16).padStart(2, '0')} is not on the list of those that are read`,
        );
    }
  }

  #global(module: string, name: string): PickleGlobal {
    if (Math.max(module.length, name.length) > MAX_GLOBAL_LENGTH) {
      this.#fail(`the name of a global is longer than ${MAX_GLOBAL_LENGTH}`);
    }
    const global = new PickleGlobal(module, name);
    if (!this.#meaning.isKnown(global)) this.#refused.add(global.path);
    if (this.#refused.size > MAX_REFUSED)
      this.#fail(`it names more than ${MAX_REFUSED} things that are not understood`);
    return this.#contained(global);
  }

  #call(callable: unknown, args: unknown): unknown {
    if (!Array.isArray(args)) return this.#fail('a call has no arguments');
    if (callable instanceof PickleGlobal) {
      return this.#contained(this.#meaning.call(callable, args) ?? new PickleObject(callable, args));
    }
    if (callable instanceof PickleObject) return this.#contained(new PickleObject(callable.type, args));
    return this.#fail('a call names nothing that can be called');
  }

  #append(items: readonly unknown[]): void {
    const top = this.#top();
    const list = top instanceof PickleObject ? top.elements : top;
    if (!Array.isArray(list)) this.#fail('a value is appended to what is no list');
    for (const item of items) list.push(item);
  }

  #addItems(items: readonly unknown[]): void {
    const top = this.#top();
    const dict = top instanceof PickleObject ? top.entries : top;
    if (!(dict instanceof Map)) this.#fail('a key is set in what is no dict');
    this.#setItems(dict, items);
  }

  #setItems(dict: Map<unknown, unknown>, items: readonly unknown[]): Map<unknown, unknown> {
    if (items.length % 2 !== 0) this.#fail('a dict has a key without a value');
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
    return dict;
  }

  /** Counts a value that takes much more memory than the instruction that makes it. */
  #contained<T>(value: T): T {
    // Each takes a hundred times the memory of its instruction.
    const { pickleValues } = readingBudget;
    if (++this.#containers > pickleValues) this.#fail(`it makes more than ${pickleValues} objects`);
    return value;
  }

  #push(value: unknown): void {
    const { pickleValues } = readingBudget;
    if (this.#stack.length >= pickleValues) this.#fail(`it puts more than ${pickleValues} values on its stack`);
    this.#stack.push(value);
  }

  /** Keeps the top of the stack under a number. */
  #keep(index: number): void {
    const { pickleValues } = readingBudget;
    const value = this.#top();
    if (this.#memo.size >= pickleValues && !this.#memo.has(index)) {
      this.#fail(`it keeps more than ${pickleValues} values in its memo`);
    }
    this.#memo.set(index, value);
  }

  #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }

  #top(): unknown {
    if (this.#stack.length <= this.#floor()) this.#fail('it takes from an empty stack');
    return this.#stack.at(-1);
  }

  #pop(): unknown {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): unknown[] {
    if (this.#stack.length - count < this.#floor()) this.#fail('it takes from an empty stack');
    return this.#stack.splice(this.#stack.length - count);
  }

  #popToMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) return this.#fail('it takes from an empty stack');
    return this.#stack.splice(mark);
  }

  #recall(index: number): unknown {
    if (!this.#memo.has(index)) this.#fail(`it recalls value ${index}, which it never kept`);
    return this.#memo.get(index);
  }

  #fail(problem: string): never {
    return this.#cursor.fail(problem);
  }
}
