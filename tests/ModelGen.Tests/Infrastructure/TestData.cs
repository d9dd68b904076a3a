namespace ModelGen.Tests.Infrastructure;

/// <summary>Trained models and corpora that are not part of the project; the variable <c>MODELGEN_TEST_DATA</c> names their folder.</summary>
public static class TestData
{
    public const string Variable = "MODELGEN_TEST_DATA";

    public static string? Folder
        => Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } folder ? folder : null;

    public static string File(params ReadOnlySpan<string> parts)
        => Path.Combine([Folder ?? throw new InvalidOperationException($"{Variable} is not set."), .. parts]);
}

/// <summary>A test that needs <see cref="TestData"/>, reported as skipped without it.</summary>
public sealed class DataFactAttribute : FactAttribute
{
    public DataFactAttribute()
    {
        if (TestData.Folder is null)
        {
            Skip = $"{TestData.Variable} is not set.";
        }
    }
}
