using ModelGen.Compiler;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Which states of a session grow by a row with each step, so that of a sequence that another one continues only that part need be copied.</summary>
public sealed class StateCacheTests
{
    [Fact]
    public void Keys_and_values_are_caches()
    {
        CompiledPlans plans = ModelCompiler.Plan(Families.All["gpt"], CacheSizes.Default, default);
        Assert.Equal(Enumerable.Range(0, 4).Select(i => new StateCache(i * 192, 8 * sizeof(float), 6)), plans.Caches);
        Assert.Equal(4 * 192, plans.InferenceStateBytes);

        // Rings too, no longer than a text.
        plans = ModelCompiler.Plan(Families.All["gpt with a window"], CacheSizes.Default, default);
        Assert.Equal(4, plans.Caches.Count);
        Assert.All(plans.Caches, cache => Assert.True(cache.RowBytes == 8 * sizeof(float) && cache.Rows <= 12));
    }

    [Fact]
    public void What_a_recurrence_carries_is_none()
    {
        CompiledPlans plans = ModelCompiler.Plan(Families.All["lstm"], CacheSizes.Default, default);
        Assert.Empty(plans.Caches);
        Assert.NotEqual(0, plans.InferenceStateBytes);
        Assert.Empty(ModelCompiler.Plan(Families.All["mlp cross-entropy"], CacheSizes.Default, default).Caches);
    }
}
