using Xunit.Sdk;

namespace ModelGen.Tests.Infrastructure;

public sealed class SnapshotTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("snapshot").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Source => Path.Combine(_folder, "SomeTests.cs");

    private string Read(string name) => File.ReadAllText(Path.Combine(_folder, name));

    private void Compare(bool accept, params (string? Hint, string Extension, string Text)[] targets)
        => Snapshot.Compare(Source, "SomeTests.Method", targets, accept);

    [Fact]
    public void First_run_writes_received_and_fails()
    {
        FailException failure = Assert.Throws<FailException>(() => Compare(false, (null, "txt", "a\r\nb\n")));
        Assert.Contains("SomeTests.Method.verified.txt", failure.Message);
        Assert.DoesNotContain(_folder, failure.Message);
        Assert.Equal("a\nb\n", Read("SomeTests.Method.received.txt"));
    }

    [Fact]
    public void Accepted_text_passes_whatever_its_line_ends_and_removes_received()
    {
        Assert.Throws<FailException>(() => Compare(false, ("Tiny.g", "cs", "a\nb\n")));
        Compare(true, ("Tiny.g", "cs", "a\nb\n"));
        Assert.Equal(["SomeTests.Method#Tiny.g.verified.cs"], Directory.GetFiles(_folder).Select(Path.GetFileName));
        File.WriteAllText(Path.Combine(_folder, "SomeTests.Method#Tiny.g.verified.cs"), "a\r\nb\r\n");
        Compare(false, ("Tiny.g", "cs", "a\nb\n"));
    }

    [Fact]
    public void Mismatch_shows_the_lines_that_differ()
    {
        string committed = string.Join('\n', Enumerable.Range(0, 50));
        Compare(true, (null, "txt", committed));
        FailException failure = Assert.Throws<FailException>(() => Compare(false, (null, "txt", committed.Replace("\n25\n", "\nx\n"))));
        Assert.Contains("- 25\n", failure.Message);
        Assert.Contains("+ x\n", failure.Message);
        Assert.DoesNotContain("  40\n", failure.Message);
    }

    [Fact]
    public void Difference_in_the_last_line_end_fails()
    {
        Compare(true, (null, "txt", "a\n"));
        Assert.Throws<FailException>(() => Compare(false, (null, "txt", "a")));
    }

    [Fact]
    public void Committed_file_that_is_no_longer_produced_fails()
    {
        Compare(true, ("A.g", "cs", "a"), ("B.g", "cs", "b"));
        FailException failure = Assert.Throws<FailException>(() => Compare(false, ("A.g", "cs", "a")));
        Assert.Contains("SomeTests.Method#B.g.verified.cs", failure.Message);
        Compare(true, ("A.g", "cs", "a"));
        Compare(false, ("A.g", "cs", "a"));
    }

    [Fact]
    public void Source_of_a_deterministic_build_is_found()
    {
        string located = SourceTree.Locate("/_/tests/ModelGen.Tests/Infrastructure/SnapshotTests.cs");
        Assert.True(File.Exists(located));
    }
}
