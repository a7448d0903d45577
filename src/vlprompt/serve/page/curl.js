// A command line that asks what the page asked.

// A word as a POSIX shell reads it; plain ones are left as they are, for other shells.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// curl reads a comma or a semicolon as the end of a file's name, unless that is quoted, too.
const fileField = (name) => (/[,;"\\]/.test(name) ? `image=@"${name.replace(/["\\]/g, "\\$&")}"` : `image=@${name}`);

export function curlCommand(url, name, { classes, compare, token }) {
  const words = ["curl", "-F", quoted(fileField(name))];
  // Not -F, which would take a class that begins with @ for a file.
  for (const word of classes) words.push("--form-string", quoted(`classes=${word}`));
  if (compare) words.push("-F", "compare=true");
  if (token) words.push("-H", '"Authorization: Bearer $VLPROMPT_TOKEN"');
  return [...words, quoted(url)].join(" ");
}
