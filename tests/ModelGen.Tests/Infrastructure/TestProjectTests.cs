using ModelGen.Compiler;

namespace ModelGen.Tests.Infrastructure;

/// <summary>What every other test relies on: the compiler's internals are reachable, and its polyfills do not shadow the framework's types.</summary>
public sealed class TestProjectTests
{
    private sealed record Sample(int Number)
    {
        public required string Text { get; init; }
    }

    [Fact]
    public void Compiler_internals_and_language_features_meet()
    {
        EquatableArray<int> one = [1, 2, 3];
        EquatableArray<int> other = [1, 2, 3];
        Assert.Equal(one, other);
        Sample sample = new(1) { Text = "a" };
        Assert.Equal("b", (sample with { Text = "b" }).Text);
    }
}
