using ModelGen.Compiler.Emit.CSharp;

namespace ModelGen.Tests.Compiler;

/// <summary>Which equations a plan's text gives again.</summary>
public sealed class GivenEquationsTests
{
    [Fact]
    public void AnEquationThatDiffersInTheLayersNumberAloneIsGivenOnce()
    {
        var given = new GivenEquations();
        Assert.True(given.IsNew("layers.1", "Add_8", "residual = layers.0.residual + matmul(x, y)  [8]"));
        Assert.True(given.IsNew("layers.1", "Add_8", "residual = layers.0.residual + matmul(x, y)  [8]"));
        Assert.Equal("", given.Remark);
        Assert.False(given.IsNew("layers.2", "Add_8", "residual = layers.1.residual + matmul(x, y)  [8]"));
        Assert.False(given.IsNew("layers.12", "Add_8", "residual = layers.11.residual + matmul(x, y)  [8]"));
        Assert.NotEqual("", given.Remark);
    }

    [Theory]
    [InlineData("layers.2", "Add_8", "residual = layers.0.residual + x  [8]")]
    [InlineData("layers.2", "Add_9", "residual = layers.1.residual + x  [8]")]
    [InlineData("layers.2", "Add_8", "residual = layers.1.residual + x  [9]")]
    [InlineData("layers.2", "Add_8", "residual = sublayers.1.residual + x  [8]")]
    [InlineData("decoder.layers.2", "Add_8", "residual = layers.1.residual + x  [8]")]
    [InlineData("", "Add_8", "residual = layers.0.residual + x  [8]")]
    public void WhatDiffersInMoreIsGiven(string scope, string method, string equation)
    {
        var given = new GivenEquations();
        Assert.True(given.IsNew("layers.1", "Add_8", "residual = layers.0.residual + x  [8]"));
        Assert.True(given.IsNew(scope, method, equation));
        Assert.Equal("", given.Remark);
    }

    [Fact]
    public void NumbersOfWhatIsNoLayerStay()
    {
        var given = new GivenEquations();
        Assert.True(given.IsNew("layers.1", "Scale_8", "y = x * 1.5; z = layers.1x + conv.layers.1.a  [8]"));
        Assert.True(given.IsNew("layers.2", "Scale_8", "y = x * 2.5; z = layers.1x + conv.layers.1.a  [8]"));
        Assert.True(given.IsNew("layers.2", "Scale_8", "y = x * 1.5; z = layers.2x + conv.layers.1.a  [8]"));
        Assert.False(given.IsNew("layers.2", "Scale_8", "y = x * 1.5; z = layers.1x + conv.layers.1.a  [8]"));
    }
}
