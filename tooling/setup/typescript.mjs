// `node --import ./tooling/setup/typescript.mjs`: runs TypeScript sources in every thread (`--import tsx` does so in the
// main thread alone).
try {
  const { register } = await import('tsx/esm/api');
  register();
} catch (error) {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  console.error('This clone is not set up yet. Once: npm start (or, to install and no more, npx pnpm install)');
  process.exit(2);
}
