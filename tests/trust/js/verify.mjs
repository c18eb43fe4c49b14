// Verifies bundles with a public key as @sigstore/verify does it, and prints a line of JSON for each: the payload's SHA-256, or
// why it was refused.
//
//   node verify.mjs FOLDER_OF_NODE_MODULES PUBLIC_KEY BUNDLE...
import { createHash, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, keyFile, ...bundles] = process.argv.slice(2);
const load = createRequire(join(folder, "package.json"));
const { bundleFromJSON } = load("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = load("@sigstore/verify");

const publicKey = createPublicKey(readFileSync(keyFile));
const hint = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trust = toTrustMaterial(root, (wanted) => {
  if (wanted !== hint) throw new Error(`no key with the hint ${wanted}`);
  return { publicKey, validFor: () => true };
});
const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, tsaThreshold: 0, timestampThreshold: 0 });

for (const file of bundles) {
  try {
    const bundle = bundleFromJSON(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file))));
    verifier.verify(toSignedEntity(bundle));
    const payload = bundle.content.dsseEnvelope.payload;
    console.log(JSON.stringify({ accepted: createHash("sha256").update(payload).digest("hex") }));
  } catch (error) {
    console.log(JSON.stringify({ refused: `${error.message}` }));
  }
}
