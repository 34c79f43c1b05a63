import { describe, expect, test } from 'vitest';
import { parseLabels } from '../src/index.js';

const digits = ['0', '1', '2', '3'];

describe('parseLabels', () => {
  test('takes names, indices and ranges, in the order given', () => {
    expect(parseLabels('3,0-2', digits)).toEqual([3, 0, 1, 2]);
    expect(parseLabels('cat, 1', ['dog', 'cat'])).toEqual([1, 1]);
  });

  test('a name wins over an index', () => {
    expect(parseLabels('7', ['5', '6', '7'])).toEqual([2]);
  });

  test('names every label that is none, at once', () => {
    expect(() => parseLabels('4,x,3-1,-1', digits)).toThrow(/"4".*\n.*"x".*\n.*"3-1".*\n.*"-1"/s);
    expect(() => parseLabels('2,0-9007199254740991', ['cat', 'dog'])).toThrow(
      /"2" is no label.*\n.*"0-9007199254740991"/s,
    );
  });

  // As folders are sorted: by code units.
  const eleven = ['1', '10', '11', '2', '3', '4', '5', '6', '7', '8', '9'];

  test('where classes are called by numbers, a range is of the same names as a number', () => {
    expect(parseLabels('1', eleven)).toEqual([0]);
    expect(parseLabels('1-3', eleven)).toEqual([0, 3, 4]);
    expect(parseLabels('9-11', eleven)).toEqual([10, 1, 2]);
    expect(parseLabels('1-3,2', ['01', '02', '03'])).toEqual([0, 1, 2, 1]);
    expect(parseLabels('1-2', ['0', '1', '2', 'other'])).toEqual([1, 2]);
    expect(parseLabels('other', ['0', '1', '2', 'other'])).toEqual([3]);
  });

  test('what no class is called is refused, though it is an index; # says index', () => {
    expect(() => parseLabels('0', eleven)).toThrow(/"0" is no label.*called by numbers here, an index is written #0/);
    expect(() => parseLabels('8-12', eleven)).toThrow(/"8-12" is no label.*there is no 12/);
    expect(parseLabels('#0-#2, #10', eleven)).toEqual([0, 1, 2, 10]);
    expect(() => parseLabels('#11', eleven)).toThrow(/"#11" is no label/);
    expect(parseLabels('0-1', ['cat', 'dog'])).toEqual([0, 1]);
  });

  test('what could be two classes is refused', () => {
    expect(() => parseLabels('1', ['01', '001'])).toThrow(/1 could be 01, 001; write the name/);
    expect(parseLabels('01', ['01', '001'])).toEqual([0]);
    expect(() => parseLabels('1-2', ['1', '1-2', '2'])).toThrow(/"1-2" is a class and a range: write #1/);
    expect(parseLabels('1-2', ['1-2', 'x'])).toEqual([0]);
  });

  test('names of classes cannot write to the terminal', () => {
    expect(() => parseLabels('nope', ['\u001b[2J', 'b\nsample: done'])).toThrow(
      /knows \\u001b\[2J, b\\nsample: done \(/,
    );
  });
});
