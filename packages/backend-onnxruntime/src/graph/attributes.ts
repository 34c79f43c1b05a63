/** Attributes as text, other ones as another text: JSON alone writes null for infinities and NaN. */
export function keyOfAttributes(attributes: unknown): string {
  const text = String(JSON.stringify(attributes));
  if (!text.includes('null')) return text;
  return JSON.stringify(attributes, (_, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  );
}
