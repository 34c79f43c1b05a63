import { InvalidArgumentError, isSeed, seedPlus } from '@mezzotint/core';

/** The flag of a setting: `guidanceRescale` -> `--guidance-rescale`. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Parser for a whole number of at least `least`, for commander options. */
export function wholeNumber(flag: string, least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(flag, `expected a whole number of at least ${least}, got '${text}'`);
    }
    return value;
  };
}

/** Parser for a seed: a whole number up to 2^64 - 1; in digits where a number does not hold it. */
export function seedNumber(flag: string): (text: string) => number | string {
  return (text) => {
    if (!/^\d+$/.test(text) || !isSeed(text)) {
      throw new InvalidArgumentError(flag, `expected a whole number from 0 to 2^64 - 1, got '${text}'`);
    }
    return seedPlus(text, 0);
  };
}

/** Parser for a finite number within [least, most]. */
export function realNumber(flag: string, least = -Infinity, most = Infinity): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < least || value > most) {
      const range = [least > -Infinity ? `at least ${least}` : '', most < Infinity ? `at most ${most}` : ''];
      throw new InvalidArgumentError(flag, `expected a number ${range.filter(Boolean).join(' and ')}, got '${text}'`);
    }
    return value;
  };
}

/** Parser for one of several words. */
export function oneOf<T extends string>(flag: string, words: readonly T[]): (text: string) => T {
  return (text) => {
    if (!(words as readonly string[]).includes(text)) {
      throw new InvalidArgumentError(flag, `expected one of ${words.join(', ')}, got '${text}'`);
    }
    return text as T;
  };
}
