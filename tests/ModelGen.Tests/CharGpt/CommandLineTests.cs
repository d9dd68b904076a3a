using System.Globalization;
using CharGpt;
using CharGpt.Corpus;
using Examples;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.CharGpt;

/// <summary>Replaces the console's streams, so it runs alone.</summary>
[Collection(Infrastructure.SerialCollection.Name)]
public class CommandLineTests
{
    [Fact]
    public void DefaultsAreThoseOfTheRecipe()
    {
        Settings settings = Parse();
        Assert.Equal(ModelFamily.Gpt, settings.Model);
        Assert.Equal(new Settings { CheckpointPath = "chargpt-gpt.safetensors" }, settings);
        Assert.Equal("chargpt-gpt.best.safetensors", settings.BestPath);
        Assert.Equal("chargpt-lstm.safetensors", Parse("--model", "lstm").CheckpointPath);
    }

    [Fact]
    public void EveryOptionArrives()
    {
        Settings settings = Parse(
            "--model", "lstm", "--text", "t.txt", "--steps", "7", "--resume", "--checkpoint", "c.safetensors", "--learning-rate", "1e-3",
            "--evaluate-every", "3", "--patience", "0", "--sample-every", "0", "--prompt", "Hello", "--length", "9", "--temperature", "0",
            "--top-k", "5", "--top-p", "0.5", "--seed", "12", "--threads", "2", "--json");
        Assert.Equal(
            new Settings
            {
                Model = ModelFamily.Lstm,
                TextPath = "t.txt",
                Steps = 7,
                Resume = true,
                CheckpointPath = "c.safetensors",
                LearningRate = 1e-3f,
                EvaluateEvery = 3,
                Patience = 0,
                SampleEvery = 0,
                Prompt = "Hello",
                Length = 9,
                Temperature = 0,
                TopK = 5,
                TopP = 0.5f,
                Seed = 12,
                Threads = 2,
                Json = true,
            },
            settings);
    }

    [Fact]
    public void NumbersAreReadInInvariantCulture()
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            var german = (CultureInfo)CultureInfo.InvariantCulture.Clone();
            german.NumberFormat.NumberDecimalSeparator = ",";
            german.NumberFormat.NumberGroupSeparator = ".";
            CultureInfo.CurrentCulture = german;
            Assert.Equal(0.25f, Parse("--top-p", "0.25").TopP);
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Theory]
    [InlineData("--steps", "-1")]
    [InlineData("--steps", "many")]
    [InlineData("--steps", "1.5")]
    [InlineData("--steps", "99999999999999999999")]
    [InlineData("--temperature", "-0.1")]
    [InlineData("--temperature", "NaN")]
    [InlineData("--temperature", "Infinity")]
    [InlineData("--top-k", "-2")]
    [InlineData("--top-p", "0")]
    [InlineData("--top-p", "1.5")]
    [InlineData("--top-p", "0,5")]
    [InlineData("--seed", "-1")]
    [InlineData("--threads", "5000")]
    [InlineData("--evaluate-every", "0")]
    [InlineData("--learning-rate", "-1")]
    public void AWrongNumberIsOneLine(string option, string value)
    {
        (int code, string output, string error) = Run(option, value);
        Assert.Equal(2, code);
        Assert.Equal("", output);
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
        Assert.Contains(option, error, StringComparison.Ordinal);
        Assert.Contains(value, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("--unknown")]
    [InlineData("--model", "bert")]
    [InlineData("--prompt", "")]
    [InlineData("--steps")]
    [InlineData("--text")]
    [InlineData("extra")]
    public void AWrongOptionIsOneLine(params string[] arguments)
    {
        (int code, string output, string error) = Run(arguments);
        Assert.Equal(2, code);
        Assert.Equal("", output);
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public void FailuresAreOneLineWithExitCode1()
    {
        foreach (Exception exception in new Exception[]
        {
            new UserException("told\nyou"), new FileNotFoundException("gone"), new ModelFileException("f", "x", "y", "z"), new ArithmeticException("NaN"),
        })
        {
            (int code, _, string error) = Capture(() => CommandLine.Run([], _ => throw exception));
            Assert.Equal(1, code);
            Assert.Equal("error: " + exception.Message.ReplaceLineEndings(" ") + "\n", error);
        }
    }

    [Fact]
    public void HelpExplainsEveryOptionAndExitCode()
    {
        (int code, string output, _) = Run("--help");
        Assert.Equal(0, code);
        foreach (string text in new[]
        {
            "--model", "--text", "--steps", "--resume", "--checkpoint", "--prompt", "--temperature", "--top-k", "--top-p", "--seed", "--json",
            "--write-corpus", "Ctrl-C", "130",
        })
        {
            Assert.Contains(text, output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void TheCorpusCanBeWritten()
    {
        using var folder = new TemporaryFolder();
        (int code, _, _) = Run("--write-corpus", folder.File("stories.txt"));
        Assert.Equal(0, code);
        Assert.Equal(StoryGrammar.Write(), File.ReadAllBytes(folder.File("stories.txt")));
    }

    private static Settings Parse(params string[] arguments)
    {
        Settings? found = null;
        (int code, _, string error) = Capture(() => CommandLine.Run(arguments, settings =>
        {
            found = settings;
            return 0;
        }));
        Assert.Equal("", error);
        Assert.Equal(0, code);
        return found!;
    }

    private static (int Code, string Output, string Error) Run(params string[] arguments) =>
        Capture(() => CommandLine.Run(arguments, _ => throw new InvalidOperationException("It must not come to training.")));

    private static (int Code, string Output, string Error) Capture(Func<int> run)
    {
        TextWriter output = Console.Out, error = Console.Error;
        var newOutput = new StringWriter { NewLine = "\n" };
        var newError = new StringWriter { NewLine = "\n" };
        try
        {
            Console.SetOut(newOutput);
            Console.SetError(newError);
            return (run(), newOutput.ToString(), newError.ToString());
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(error);
        }
    }
}
