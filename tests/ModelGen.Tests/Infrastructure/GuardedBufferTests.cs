namespace ModelGen.Tests.Infrastructure;

public sealed unsafe class GuardedBufferTests
{
    [Theory]
    [InlineData(GuardSide.After)]
    [InlineData(GuardSide.Before)]
    public void EveryElementIsAccessible(GuardSide side)
    {
        foreach (int length in (int[])[0, 1, 7, 1023, 1024, 1025, 5000])
        {
            using GuardedBuffer buffer = new(length, side);
            for (int i = 0; i < length; i++)
            {
                Assert.True(float.IsNaN(buffer.Pointer[i]));
                buffer.Pointer[i] = i;
            }

            Assert.Equal(length, buffer.Span.Length);
        }
    }

    [Fact]
    public void WritingOnTheOpenSideIsReported()
    {
        GuardedBuffer after = new(5);
        ((byte*)after.Pointer)[-1] = 0;
        Assert.Contains("Byte -1 ", Assert.Throws<InvalidOperationException>(after.Dispose).Message);
        GuardedBuffer before = new(5, GuardSide.Before);
        ((byte*)before.Pointer)[20] = 0;
        Assert.Contains("Byte 20 ", Assert.Throws<InvalidOperationException>(before.Dispose).Message);
    }

    [Fact]
    public void OneElementTooFarEndsTheProcess()
    {
        foreach (Action check in (Action[])[ReadBeyondTheEnd, WriteBeyondTheEnd, ReadBeforeTheStart])
        {
            ChildProcess.Result result = ChildProcess.Run(check, ("DOTNET_DbgEnableMiniDump", "0"));
            Assert.True(
                result.ExitCode is not (CheckEntryPoint.Passed or CheckEntryPoint.Failed or CheckEntryPoint.Usage),
                $"{check.Method.Name} ended with {result.ExitCode}: {result.Error}");
        }
    }

    [Check]
    private static void ReadBeyondTheEnd()
    {
        using GuardedBuffer buffer = new(5);
        Console.WriteLine(buffer.Pointer[5]);
    }

    [Check]
    private static void WriteBeyondTheEnd()
    {
        using GuardedBuffer buffer = new(5);
        buffer.Pointer[5] = 0;
    }

    [Check]
    private static void ReadBeforeTheStart()
    {
        using GuardedBuffer buffer = new(5, GuardSide.Before);
        Console.WriteLine(buffer.Pointer[-1]);
    }
}
