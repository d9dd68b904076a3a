using System.Runtime.CompilerServices;
using System.Text;
using DiffPlex;
using DiffPlex.DiffBuilder;
using DiffPlex.DiffBuilder.Model;

namespace ModelGen.Tests.Infrastructure;

/// <summary>
/// Compares text with a file that is committed beside the test, in the naming of Verify: <c>Class.Method.verified.txt</c>,
/// <c>Class.Method#Hint.verified.cs</c> for one of several files, <c>.received.</c> beside it on a mismatch. Line ends are
/// normalised to LF on both sides. A missing file is a mismatch. Setting <c>MODELGEN_ACCEPT_SNAPSHOTS=1</c> writes the
/// verified files instead of comparing; what changed is then seen in the version control's diff.
/// </summary>
/// <remarks>The class in a file's name is the name of the source file that holds the test, so a test class with snapshots has a file to itself.</remarks>
public static class Snapshot
{
    public const string AcceptVariable = "MODELGEN_ACCEPT_SNAPSHOTS";

    private const int ContextLines = 3;
    private const int LongestDiff = 120;

    /// <summary>Requires that <paramref name="text"/> is what <c>Class.Method[_parameters].verified.extension</c> holds.</summary>
    public static void Verify(
        string text,
        string extension = "txt",
        string? parameters = null,
        [CallerFilePath] string sourceFile = "",
        [CallerMemberName] string method = "")
        => Compare(SourceTree.Locate(sourceFile), Prefix(sourceFile, method, parameters), [(null, extension, text)], Accepting);

    /// <summary>
    /// Requires that the files are exactly those committed as <c>Class.Method[_parameters]#Hint.verified.extension</c>: a file
    /// <c>Tiny.Kernels.g.cs</c> has the hint <c>Tiny.Kernels.g</c> and the extension <c>cs</c>. A committed file that is no longer
    /// produced is a mismatch too.
    /// </summary>
    public static void VerifyFiles(
        IEnumerable<(string Name, string Text)> files,
        string? parameters = null,
        [CallerFilePath] string sourceFile = "",
        [CallerMemberName] string method = "")
    {
        List<(string? Hint, string Extension, string Text)> targets = [];
        foreach ((string name, string text) in files)
        {
            // A hint name may carry folders; a file name may not.
            string flat = name.Replace('/', '.').Replace('\\', '.');
            targets.Add((Path.GetFileNameWithoutExtension(flat), Path.GetExtension(flat).TrimStart('.'), text));
        }

        Compare(SourceTree.Locate(sourceFile), Prefix(sourceFile, method, parameters), targets, Accepting);
    }

    private static bool Accepting => Environment.GetEnvironmentVariable(AcceptVariable) is "1" or "true";

    private static string Prefix(string sourceFile, string method, string? parameters)
    {
        string type = Path.GetFileNameWithoutExtension(sourceFile.Replace('\\', '/'));
        return parameters is null ? $"{type}.{method}" : $"{type}.{method}_{parameters}";
    }

    internal static void Compare(string sourceFile, string prefix, IReadOnlyList<(string? Hint, string Extension, string Text)> targets, bool accept)
    {
        string folder = Path.GetDirectoryName(sourceFile)!;
        HashSet<string> expected = [];
        StringBuilder problems = new();
        foreach ((string? hint, string extension, string text) in targets)
        {
            string stem = hint is null ? prefix : $"{prefix}#{hint}";
            string verifiedName = $"{stem}.verified.{extension}";
            string verifiedPath = Path.Combine(folder, verifiedName);
            string receivedPath = Path.Combine(folder, $"{stem}.received.{extension}");
            if (!expected.Add(verifiedName))
            {
                throw new ArgumentException($"Two snapshots of one test are called '{verifiedName}'.", nameof(targets));
            }

            string received = Normalise(text);
            if (accept)
            {
                if (!File.Exists(verifiedPath) || Normalise(File.ReadAllText(verifiedPath)) != received)
                {
                    File.WriteAllText(verifiedPath, received);
                }

                File.Delete(receivedPath);
                continue;
            }

            string? verified = File.Exists(verifiedPath) ? Normalise(File.ReadAllText(verifiedPath)) : null;
            if (verified == received)
            {
                File.Delete(receivedPath);
                continue;
            }

            File.WriteAllText(receivedPath, received);
            problems.Append(verified is null
                ? $"New: {verifiedName} does not exist; what was produced is in {Path.GetFileName(receivedPath)}.\n"
                : $"Not equal: {verifiedName}\n{Diff(verified, received)}");
        }

        foreach (string path in CommittedFiles(folder, prefix))
        {
            string name = Path.GetFileName(path);
            if (expected.Contains(name))
            {
                continue;
            }

            if (accept)
            {
                File.Delete(path);
            }
            else
            {
                problems.Append($"Delete: {name} is committed but no longer produced.\n");
            }
        }

        if (problems.Length > 0)
        {
            Assert.Fail($"{problems}Set {AcceptVariable}=1 to accept.");
        }
    }

    private static IEnumerable<string> CommittedFiles(string folder, string prefix)
        => Directory.EnumerateFiles(folder, $"{prefix}.verified.*").Concat(Directory.EnumerateFiles(folder, $"{prefix}#*.verified.*"));

    private static string Normalise(string text) => text.Replace("\r\n", "\n").Replace('\r', '\n');

    /// <summary>The changed lines, each with a few lines around it: <c>-</c> committed, <c>+</c> produced.</summary>
    internal static string Diff(string verified, string received)
    {
        List<DiffPiece> lines = new InlineDiffBuilder(new Differ()).BuildDiffModel(verified, received, ignoreWhitespace: false).Lines;
        StringBuilder text = new();
        int shown = 0;
        int last = -1;
        for (int i = 0; i < lines.Count; i++)
        {
            bool near = false;
            for (int j = Math.Max(0, i - ContextLines); j <= Math.Min(lines.Count - 1, i + ContextLines); j++)
            {
                near |= lines[j].Type != ChangeType.Unchanged;
            }

            if (!near)
            {
                continue;
            }

            if (++shown > LongestDiff)
            {
                text.Append("  … the difference goes on\n");
                break;
            }

            if (last != i - 1)
            {
                text.Append($"  @@ line {i + 1}\n");
            }

            last = i;
            char mark = lines[i].Type switch
            {
                ChangeType.Inserted => '+',
                ChangeType.Deleted => '-',
                _ => ' ',
            };
            text.Append($"{mark} {lines[i].Text}\n");
        }

        return shown == 0 ? "  (the texts differ only in a line end at the end of the file)\n" : text.ToString();
    }
}
