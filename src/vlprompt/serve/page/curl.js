// The curl command of a request.

// Quote a word for a POSIX shell; plain words stay unquoted, so that they work in other shells too.
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// curl ends a file name at a comma or semicolon unless the name is quoted.
const fileField = (name) => (/[,;"\\]/.test(name) ? `image=@"${name.replace(/["\\]/g, "\\$&")}"` : `image=@${name}`);

export function curlCommand(url, name, { classes, compare, token }) {
  const words = ["curl", "-F", quoted(fileField(name))];
  // -F would read a class that starts with @ as a file name.
  for (const word of classes) words.push("--form-string", quoted(`classes=${word}`));
  if (compare) words.push("-F", "compare=true");
  if (token) words.push("-H", '"Authorization: Bearer $VLPROMPT_TOKEN"');
  return [...words, quoted(url)].join(" ");
}
