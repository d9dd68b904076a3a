namespace ModelGen.Tests.Infrastructure;

/// <summary>Trained models and corpora that are not part of the project; the variable <c>MODELGEN_TEST_DATA</c> names their folder.</summary>
public static class TestData
{
    private const string Variable = "MODELGEN_TEST_DATA";

    /// <summary>The path of a file there. Where the folder is not, the test that asks is reported as skipped.</summary>
    public static string File(params ReadOnlySpan<string> parts)
    {
        string folder = Environment.GetEnvironmentVariable(Variable) ?? "";
        Assert.SkipWhen(folder.Length == 0, $"{Variable} is not set.");
        return Path.Combine([folder, .. parts]);
    }
}
