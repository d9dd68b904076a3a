namespace ModelGen.Tests.Infrastructure;

public sealed class ChildProcessTests
{
    private const string Variable = "MODELGEN_TEST_CHILD";

    [Fact]
    public void EnvironmentReachesTheCheck() => ChildProcess.RunCheck(ExpectVariable, (Variable, "a b\"c"));

    [Fact]
    public void FailureOfTheCheckIsReported()
    {
        ChildProcess.Result result = ChildProcess.Run(ExpectVariable, (Variable, "other"));
        Assert.Equal(CheckEntryPoint.Failed, result.ExitCode);
        Assert.Contains("other", result.Error);
    }

    [Fact]
    public void UnknownCheckIsReported()
    {
        ChildProcess.Result result = ChildProcess.Start(["--check", "ModelGen.Tests.Missing.Check"]);
        Assert.Equal(CheckEntryPoint.Usage, result.ExitCode);
        Assert.Contains("ModelGen.Tests.Missing.Check", result.Error);
    }

    [Check]
    private static void ExpectVariable() => Assert.Equal("a b\"c", Environment.GetEnvironmentVariable(Variable));
}
