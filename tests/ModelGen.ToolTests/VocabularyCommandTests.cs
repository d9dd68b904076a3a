using System.Globalization;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Vocabularies as text, for projects that compile grammars with their masks.</summary>
[Collection(ToolCommand.Collection)]
public sealed class VocabularyCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-vocabulary").FullName;

    private string Output => Path.Combine(_folder, "tok512.vocabulary");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_vocabulary_is_written_beside_an_older_file_and_renamed()
    {
        string tokens = TestData.File("stories260K", "tok512.bin");
        File.WriteAllText(Output, "the older one");
        using (StreamReader? older = OlderFile.Open(Output))
        {
            ToolCommand.Result result = ToolCommand.Run("vocabulary", tokens, Output);
            Assert.Equal("", result.Error);
            Assert.Equal(string.Create(CultureInfo.InvariantCulture, $"{Output}: 512 tokens{Environment.NewLine}"), result.Output);
            Assert.Equal("the older one", older?.ReadToEnd() ?? "the older one");
        }

        Assert.Equal([Output], Directory.GetFiles(_folder));
        using var expected = new StringWriter();
        TextTokenizer.Load(tokens).WriteVocabulary(expected);
        Assert.Equal(expected.ToString(), File.ReadAllText(Output));
        Assert.NotEqual("", expected.ToString());
    }

    [Fact]
    public void A_file_that_is_no_vocabulary_leaves_the_older_one()
    {
        File.WriteAllText(Output, "the older one");
        File.WriteAllText(Path.Combine(_folder, "x.bin"), "no vocabulary");
        Assert.NotEqual(0, ToolCommand.Run("vocabulary", Path.Combine(_folder, "x.bin"), Output).Code);
        Assert.Equal("the older one", File.ReadAllText(Output));
    }
}
