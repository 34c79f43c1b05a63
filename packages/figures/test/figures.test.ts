import { describe, expect, test } from 'vitest';
import { imageGrid, plotHeatMap, plotLines } from '../src/index.js';
import { plotSvg } from '../src/plot-lines.js';

describe('imageGrid', () => {
  const images = {
    images: Uint8Array.of(1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24),
    count: 3,
    height: 2,
    width: 2,
    channels: 1 as const,
  };

  test('lays images row by row on white', () => {
    const grid = imageGrid(images, { columns: 2, padding: 1 });
    expect([grid.height, grid.width, grid.channels]).toEqual([7, 7, 1]);
    const w = 255;
    // biome-ignore format: the picture
    expect([...grid.data]).toEqual([
      w, w, w, w, w, w, w,
      w, 1, 2, w, 11, 12, w,
      w, 3, 4, w, 13, 14, w,
      w, w, w, w, w, w, w,
      w, 21, 22, w, w, w, w,
      w, 23, 24, w, w, w, w,
      w, w, w, w, w, w, w,
    ]);
  });

  test('magnifies by whole pixels and keeps colours', () => {
    const rgb = { images: Uint8Array.of(1, 2, 3, 4, 5, 6), count: 1, height: 1, width: 2, channels: 3 as const };
    const grid = imageGrid(rgb, { padding: 0, scale: 2 });
    expect([grid.height, grid.width]).toEqual([2, 4]);
    expect([...grid.data.subarray(0, 12)]).toEqual([1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]);
    expect(grid.data.subarray(12)).toEqual(grid.data.subarray(0, 12));
  });

  test.each([1, 3] as const)('draws labels outside of the images (%i channels)', (channels) => {
    const black = { images: new Uint8Array(4 * 28 * 28 * channels), count: 4, height: 28, width: 28, channels };
    const plain = imageGrid(black, { columns: 2 });
    const grid = imageGrid(black, { columns: 2, rowLabels: ['w = 1', 'w < 2 & "x"'], columnLabels: ['0', '1'] });
    const ink = (value: number) => value > 0 && value < 200;
    expect(plain.data.some(ink)).toBe(false);
    const left = grid.width - plain.width;
    const top = grid.height - plain.height;
    const dark = { rows: 0, columns: 0 };
    for (let y = 0; y < grid.height; y++) {
      for (let x = 0; x < grid.width; x++) {
        if (!ink(grid.data[(y * grid.width + x) * channels]!)) continue;
        if (x < left) dark.rows += 1;
        else if (y < top) dark.columns += 1;
        else expect.unreachable(`ink inside of the images at ${y}, ${x}`);
      }
    }
    expect(dark.rows).toBeGreaterThan(60); // 14 letters of some pixels each
    expect(dark.columns).toBeGreaterThan(8);
    // the images themselves are untouched: as many black pixels as before
    const blacks = (data: Uint8Array) => data.filter((v) => v === 0).length;
    expect(blacks(grid.data)).toBe(blacks(plain.data));
  });

  test('writes a caption under each image, and nothing on the images', () => {
    const black = { images: new Uint8Array(2 * 28 * 56), count: 2, height: 28, width: 56, channels: 1 as const };
    const [plain, grid] = [
      imageGrid(black, { columns: 1 }),
      imageGrid(black, { columns: 1, captions: ['0.123', '0.456'] }),
    ];
    expect(grid.width).toBe(plain.width);
    const line = (grid.height - plain.height) / 2;
    const inkIn = (from: number, to: number) =>
      grid.data.subarray(from * grid.width, to * grid.width).filter((v) => v > 0 && v < 200).length;
    expect(inkIn(2, 30)).toBe(0); //                        the first image
    expect(inkIn(30, 30 + line)).toBeGreaterThan(20); //    its caption
    expect(inkIn(32 + line, 60 + line)).toBe(0); //         the second image
    expect(inkIn(60 + line, 60 + 2 * line)).toBeGreaterThan(20);
  });

  test('leaves out what XML does not allow in texts, and draws the rest', () => {
    const black = { images: new Uint8Array(28 * 56), count: 1, height: 28, width: 56, channels: 1 as const };
    const captioned = (caption: string) => imageGrid(black, { captions: [caption] }).data;
    const odd = ['\0', '\x1b', '\ufffe', '\uffff', '\ud83d', '\udd34'];
    for (const character of odd) expect(captioned(`1${character}`)).toEqual(captioned('1'));
    expect(captioned('1\ufffd')).not.toEqual(captioned('1')); // allowed
  });

  test('breaks captions that are wider than their image between words', () => {
    const black = { images: new Uint8Array(2 * 64 * 64), count: 2, height: 64, width: 64, channels: 1 as const };
    const [plain, short, long] = [
      imageGrid(black),
      imageGrid(black, { captions: ['heart', 'pizza'] }),
      imageGrid(black, { captions: ['a woman astronaut with dark skin tone', 'pizza'] }),
    ] as const;
    expect(long.width).toBe(plain.width);
    expect((long.height - plain.height) / (short.height - plain.height)).toBeGreaterThan(2);
    // Ink of the long caption stays below its own image: the columns between the two have none.
    const inkAt = (x: number) =>
      Array.from({ length: long.height - 68 }, (_, y) => long.data[(68 + y) * long.width + x]!).filter((v) => v < 200)
        .length;
    expect([66, 67].map(inkAt)).toEqual([0, 0]);
    expect(Array.from({ length: 64 }, (_, x) => inkAt(2 + x)).reduce((a, b) => a + b)).toBeGreaterThan(100);
  });

  test('names what does not fit', () => {
    expect(() => imageGrid(images, { captions: ['a'] })).toThrow(/3 captions, got 1/);
    expect(() => imageGrid({ ...images, count: 4 }, { columns: 0 })).toThrow(/columns.*got 0\n.*16 bytes.*got 12/);
    expect(() => imageGrid(images, { columns: 2, rowLabels: ['a'], columnLabels: ['a', 'b', 'c'] })).toThrow(
      /2 row labels, got 1\n.*2 column labels, got 3/,
    );
    expect(() => imageGrid(images, { scale: 100_000 })).toThrow(/at most 2\^28 pixels/);
  });
});

describe('plotLines', () => {
  test('a legend that is wider than the plot goes on in further rows, and the plot begins below it', () => {
    const names = Array.from({ length: 6 }, (_, i) => `the upsampler without augmentation ${i}`);
    const texts = (count: number) => {
      const svg = plotSvg(
        names.slice(0, count).map((name) => ({ name, y: [1, 2] })),
        { width: 640 },
      );
      return names.slice(0, count).map((name) => {
        const [, x, y] = new RegExp(`<text x="([\\d.]+)" y="([\\d.]+)"[^>]*>${name}<`).exec(svg)!;
        return { right: Number(x) + name.length * 8, y: Number(y) };
      });
    };
    const six = texts(6);
    expect(Math.max(...six.map(({ right }) => right))).toBeLessThan(640);
    expect(new Set(six.map(({ y }) => y)).size).toBeGreaterThan(2);
    expect(new Set(texts(1).map(({ y }) => y)).size).toBe(1);
  });

  const isBlue = (r: number, g: number, b: number) => b > r + 60 && b > g;

  /** Columns and rows of the pixels of the first line. */
  function blue(plot: { data: Uint8Array; width: number; height: number }, top = 0) {
    const places: { x: number; y: number }[] = [];
    for (let i = top * plot.width; i < plot.width * plot.height; i++) {
      const [r, g, b] = plot.data.subarray(3 * i, 3 * i + 3);
      if (isBlue(r!, g!, b!)) places.push({ x: i % plot.width, y: Math.floor(i / plot.width) });
    }
    return places;
  }

  test('draws a rising line from the lower left to the upper right', () => {
    const plot = plotLines([{ name: '', y: [0, 1, 2, 3] }], { width: 400, height: 300 });
    const places = blue(plot);
    const first = places.reduce((a, b) => (b.x < a.x ? b : a));
    const last = places.reduce((a, b) => (b.x > a.x ? b : a));
    expect(last.x - first.x).toBeGreaterThan(300);
    expect(first.y - last.y).toBeGreaterThan(200);
    // y = x is straight: the middle is half-way
    const middle = places.filter(({ x }) => x === Math.round((first.x + last.x) / 2)).map(({ y }) => y);
    expect(middle.reduce((a, b) => a + b) / middle.length).toBeCloseTo((first.y + last.y) / 2, -0.5);
  });

  test('an exponential is straight on a log axis', () => {
    const y = Array.from({ length: 50 }, (_, i) => 10 ** (-i / 10));
    const places = blue(plotLines([{ name: '', y }], { yScale: 'log', width: 400, height: 300 }));
    const first = places.reduce((a, b) => (b.x < a.x ? b : a));
    const last = places.reduce((a, b) => (b.x > a.x ? b : a));
    for (const { x, y } of places) {
      const straight = first.y + ((last.y - first.y) * (x - first.x)) / (last.x - first.x);
      expect(Math.abs(y - straight)).toBeLessThan(3.5); // the line is 2 pixels wide
    }
  });

  test('a million noisy values draw fast, values that are not finite leave a gap, and a constant is fine', () => {
    const y = Float64Array.from({ length: 1_000_000 }, (_, i) =>
      i > 400_000 && i < 600_000 ? Number.NaN : Math.sin(i),
    );
    const plot = plotLines([{ name: 'loss', y, smooth: 0.99 }], { title: 't', xLabel: 'step', yLabel: 'loss' });
    const columns = new Set(
      blue(plot, 100)
        .filter(({ y: row }) => row < 450)
        .map(({ x }) => x),
    );
    expect(columns.has(200)).toBe(true);
    expect(columns.has(500)).toBe(true); // the average goes on
    expect(
      plotLines([
        { name: 'c', y: [2, 2] },
        { name: 'empty', y: [] },
      ]).width,
    ).toBe(960);
    expect(plotLines([{ name: 'c', y: [2] }], { yScale: 'log' }).height).toBe(540);
  });

  test('names what cannot be drawn', () => {
    expect(() => plotLines([])).toThrow('at least one series');
    expect(() => plotLines([{ name: 'a', y: [Number.NaN] }])).toThrow('at least one finite value');
    expect(() => plotLines([{ name: 'a', y: [-1] }], { yScale: 'log' })).toThrow('at least one finite, positive value');
    expect(() => plotLines([{ name: 'a', x: [1], y: [1, 2], smooth: 1 }], { width: 10 })).toThrow(
      /a: expected as many x as y, got 1 and 2\n.*smooth in \[0, 1\), got 1\n.*width.*got 10/,
    );
  });
});

describe('plotHeatMap', () => {
  const options = { rows: ['a', 'b'], columns: ['x', 'y', 'z'] };
  /** Colour of a cell near its corner, between frame and text. */
  const cellOf = (plot: ReturnType<typeof plotHeatMap>, row: number, column: number) => {
    const left = plot.width - 24 - 3 * 92;
    const at = ((20 + row * 44 + 7) * plot.width + left + column * 92 + 7) * 3;
    return [...plot.data.subarray(at, at + 3)];
  };

  test('the lowest is pale, the highest dark, equal ratios are equal steps; what is not finite is white', () => {
    const plot = plotHeatMap(
      [
        [1, 10, 100],
        [100, Number.NaN, 10],
      ],
      options,
    );
    const [low, middle, high] = [0, 1, 2].map((column) => cellOf(plot, 0, column));
    expect([low, high]).toEqual([
      [247, 251, 255],
      [8, 48, 107],
    ]);
    // Halfway on a logarithmic scale.
    middle!.forEach((value, c) => void expect(Math.abs(value - (low![c]! + high![c]!) / 2)).toBeLessThanOrEqual(1));
    expect(cellOf(plot, 1, 0)).toEqual(high);
    expect(cellOf(plot, 1, 1)).toEqual([255, 255, 255]);
    expect(cellOf(plot, 1, 2)).toEqual(middle);
  });

  test('refuses what does not fit, all at once', () => {
    expect(() => plotHeatMap([[1, 2]], options)).toThrow(
      /expected 2 rows of values, got 1[\s\S]*expected 3 values in a row, got 2/,
    );
    expect(() => plotHeatMap([[Number.NaN, Number.NaN, Number.NaN]], { ...options, rows: ['a'] })).toThrow(
      /one finite value/,
    );
  });
});
