// A program of a user's: the first image of the digits model from the built packages, and when each part was done.
// Run with a model folder and the PNG to write; prints JSON with milliseconds since the process began.
const [folder, file] = process.argv.slice(2);
const done = {};
const mark = (part) => {
  done[part] = performance.now();
};
mark('node');
const tf = await import('@tensorflow/tfjs-core');
mark('tfjs-core');
const { useBackend } = await import('@mezzotint/backend');
const { digits } = await import('@mezzotint/unet');
const { readSafetensors } = await import('@mezzotint/weights/node');
const { classifierFreeBatched } = await import('@mezzotint/guidance');
const schedulers = await import('@mezzotint/schedulers');
const { toBytes, writePng } = await import('@mezzotint/data');
const { imageGrid } = await import('@mezzotint/figures');
mark('packages');
const { name: engine, version } = await useBackend();
mark('engine');
const model = await digits.build().load(readSafetensors(`${folder}/model.safetensors`));
mark('weights');

const { cosineBetas, denoiser, discreteProcess, dpmpp2m, initialNoise, run, timestepSchedule, torchNoise } = schedulers;
const table = timestepSchedule(discreteProcess(cosineBetas()), schedulers.trailingTimesteps(1000, 20));
const noise = torchNoise(0);
const plain = denoiser((x, time, labels) => model.forward(x, time, { labels }), schedulers.vPrediction);
const guided = classifierFreeBatched(plain, {
  scale: 1.5,
  unconditional: tf.fill([1], 10, 'int32'),
  join: (a, b) => tf.concat([a, b]),
});
const start = initialNoise(table, [1, 28, 28, 1], noise);
let data;
for await (const step of run(dpmpp2m(), guided, start, table, tf.tensor1d([3], 'int32'), { noise })) {
  data = await step.x.data();
  if (step.index === 0) mark('first step'); // It compiles.
}
mark('other steps');
const images = { images: toBytes(data), count: 1, height: 28, width: 28, channels: 1 };
await writePng(file, imageGrid(images, { columns: 1 }), { overwrite: true });
mark('png');
process.stdout.write(`${JSON.stringify({ engine, version, done })}\n`);
