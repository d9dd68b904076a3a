using System.Globalization;
using System.Text;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>One thing that is wrong with a model file.</summary>
/// <param name="Field">What in the file is wrong: a tensor's name, or a part of the format.</param>
/// <param name="Expected">What should be there.</param>
/// <param name="Found">What is there.</param>
public sealed record ModelFileProblem(string Field, string Expected, string Found);

/// <summary>
/// A model file or checkpoint is damaged, or does not fit the model. The message lists everything that was found wrong, in printable
/// characters whatever the file holds.
/// </summary>
public sealed class ModelFileException : IOException
{
    // Far above what this library puts into one part of a message; a bound for what others put there.
    private const int LengthLimit = 1000;

    /// <summary>Describes what is wrong with a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="field">What in the file is wrong: a tensor's name, or a part of the format.</param>
    /// <param name="expected">What should be there.</param>
    /// <param name="found">What is there.</param>
    /// <param name="innerException">What caused the failure, if anything did.</param>
    public ModelFileException(string path, string field, string expected, string found, Exception? innerException = null)
        : this(path, "", [new ModelFileProblem(field, expected, found)], "", innerException)
    {
    }

    /// <summary>Describes everything that is wrong with a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="summary">What the problems have in common; empty where there is one that says enough.</param>
    /// <param name="problems">The problems, one or more.</param>
    /// <param name="advice">A last sentence; empty for none.</param>
    /// <param name="innerException">What caused the failure, if anything did.</param>
    internal ModelFileException(string path, string summary, IReadOnlyList<ModelFileProblem> problems, string advice, Exception? innerException = null)
        : base(Describe(path, summary, problems, advice), innerException)
    {
        Path = path;
        Problems = problems;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Everything that was found wrong, one problem or more.</summary>
    public IReadOnlyList<ModelFileProblem> Problems { get; }

    /// <summary>What in the file is wrong: a tensor's name, or a part of the format. Of the first problem, where there are several.</summary>
    public string Field => Problems[0].Field;

    /// <summary>What should be there. Of the first problem, where there are several.</summary>
    public string Expected => Problems[0].Expected;

    /// <summary>What is there. Of the first problem, where there are several.</summary>
    public string Found => Problems[0].Found;

    private static string Describe(string path, string summary, IReadOnlyList<ModelFileProblem> problems, string advice)
    {
        var text = new StringBuilder(Shown(path)).Append(": ");
        if (problems.Count == 1)
        {
            text.Append(summary).Append(summary.Length > 0 ? ": " : "").Append(Line(problems[0])).Append('.');
            return (advice.Length > 0 ? text.Append(' ').Append(advice) : text).ToString();
        }

        text.Append(summary).Append('.').Append(advice.Length > 0 ? " " : "").Append(advice);
        foreach (ModelFileProblem problem in problems)
        {
            text.Append("\n  ").Append(Line(problem));
        }

        return text.ToString();
    }

    private static string Line(ModelFileProblem problem)
        => string.Create(CultureInfo.InvariantCulture, $"{Shown(problem.Field)}: expected {Shown(problem.Expected)}, found {Shown(problem.Found)}");

    private static string Shown(string text) => Quoted.Printable(text, LengthLimit);
}
